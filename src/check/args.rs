//! The flags of `check`, and the KeyProtectInstance that they make.

use std::path::PathBuf;

use clap::ValueEnum;

use crate::api::instance::{
    CloudFoundry, EndpointKind, EndpointSpec, KeyProtectInstanceSpec, Network,
};

/// Tries, step by step, whether an instance and a key can be read from here.
#[derive(Clone, Debug, clap::Args)]
pub struct CheckArgs {
    /// CRN of the instance, as 'ibmcloud resource service-instance NAME --id' prints it.
    #[arg(long, conflicts_with_all = ["instance", "region", "organization"])]
    pub crn: Option<String>,
    /// ID (GUID) of the instance, where no CRN is given.
    #[arg(long)]
    pub instance: Option<String>,
    /// Region of the instance, like us-south.
    #[arg(long)]
    pub region: Option<String>,
    /// GUID of the Cloud Foundry organization of a legacy instance.
    #[arg(long, requires = "space")]
    pub organization: Option<String>,
    /// GUID of the Cloud Foundry space of a legacy instance.
    #[arg(long, requires = "organization")]
    pub space: Option<String>,
    /// Which service the instance belongs to. Default: what the CRN says, else standard.
    #[arg(long, value_enum)]
    pub kind: Option<KindArg>,
    /// Which network the hosts are reached over.
    #[arg(long, value_enum)]
    pub network: Option<NetworkArg>,
    /// Port of a private endpoint with an allowed-IP policy, or of an HPCS host.
    #[arg(long)]
    pub port: Option<u16>,
    /// Takes the place of the host that kind, region and network would make.
    #[arg(long, value_name = "URL")]
    pub endpoint_url: Option<String>,
    /// Takes the place of IAM's token URL.
    #[arg(long, value_name = "URL")]
    pub iam_url: Option<String>,
    /// Extra root certificates (PEM).
    #[arg(long, value_name = "FILE")]
    pub ca_file: Option<PathBuf>,
    /// File that holds an API key, as text or as the JSON of IBM's CLI; '-' for standard input.
    #[arg(long, value_name = "FILE", required_unless_present = "token_file")]
    pub api_key_file: Option<PathBuf>,
    /// File that holds what 'ibmcloud iam oauth-tokens' prints; '-' for standard input.
    #[arg(long, value_name = "FILE", conflicts_with = "api_key_file")]
    pub token_file: Option<PathBuf>,
    /// Alias of a key that should be readable.
    #[arg(long, conflicts_with = "key_id")]
    pub alias: Option<String>,
    /// ID of a key that should be readable.
    #[arg(long)]
    pub key_id: Option<String>,
    /// Key ring that the key is looked for in.
    #[arg(long)]
    pub key_ring: Option<String>,
    /// Hosts that may receive an API key beside IBM Cloud's own: HOST or HOST:PORT.
    #[arg(long, value_delimiter = ',', value_name = "HOST[:PORT]")]
    pub allowed_iam_hosts: Vec<String>,
    /// Hosts that may receive a token beside IBM Cloud's own: HOST or HOST:PORT.
    #[arg(long, value_delimiter = ',', value_name = "HOST[:PORT]")]
    pub allowed_key_hosts: Vec<String>,
    /// Lets loopback hosts that are allowed be spoken to without TLS.
    #[arg(long)]
    pub allow_insecure_loopback: bool,
}

/// Which service an instance belongs to.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum KindArg {
    /// Key Protect.
    Standard,
    /// Key Protect Dedicated.
    Dedicated,
    /// Hyper Protect Crypto Services.
    Hpcs,
}

/// Which network the hosts are reached over.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum NetworkArg {
    /// The public Internet.
    Public,
    /// IBM Cloud's private network.
    Private,
}

pub(super) fn spec(args: &CheckArgs, ca_bundle: Option<String>) -> KeyProtectInstanceSpec {
    KeyProtectInstanceSpec {
        crn: args.crn.clone(),
        instance_id: args.instance.clone(),
        region: args.region.clone(),
        cloud_foundry: args.organization.clone().zip(args.space.clone()).map(
            |(organization, space)| CloudFoundry {
                organization,
                space,
            },
        ),
        endpoint: Some(EndpointSpec {
            kind: args.kind.map(|kind| match kind {
                KindArg::Standard => EndpointKind::Standard,
                KindArg::Dedicated => EndpointKind::Dedicated,
                KindArg::Hpcs => EndpointKind::Hpcs,
            }),
            network: args.network.map(|network| match network {
                NetworkArg::Public => Network::Public,
                NetworkArg::Private => Network::Private,
            }),
            port: args.port.map(i32::from),
            url: args.endpoint_url.clone(),
            iam_url: args.iam_url.clone(),
            ca_bundle,
        }),
        ..KeyProtectInstanceSpec::default()
    }
}

/// Messages name fields of a KeyProtectInstance; on a command line they are flags.
pub(super) fn in_flags(text: &str) -> String {
    [
        (
            "spec: give one of crn, instanceID with region, and cloudFoundry",
            "give one of --crn, --instance with --region, and --organization with --space",
        ),
        ("with instanceID", "with --instance"),
        ("the operator's admin adds it with", "add it with"),
        ("spec.endpoint.caBundle", "--ca-file"),
        ("spec.endpoint.iamURL", "--iam-url"),
        ("spec.endpoint.url", "--endpoint-url"),
        ("endpoint.url", "--endpoint-url"),
        ("spec.endpoint.kind", "--kind"),
        ("spec.endpoint.port", "--port"),
        ("spec.cloudFoundry.organization", "--organization"),
        ("spec.cloudFoundry.space", "--space"),
        ("spec.instanceID", "--instance"),
        ("spec.region", "--region"),
        ("spec.crn", "--crn"),
    ]
    .into_iter()
    .fold(text.to_owned(), |text, (field, flag)| {
        text.replace(field, flag)
    })
}
