//! The subcommand `crds`: the definitions of both kinds, made from the Rust types. The files
//! under `crds/` are its output, and a test compares them.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::PathBuf;
use std::{fs, io};

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, JSONSchemaProps, JSONSchemaPropsOrArray, JSONSchemaPropsOrBool,
};
use kube::CustomResourceExt;

use crate::api::{KeyProtectInstance, KeyProtectKey};

/// What the definitions may weigh, as YAML: `kubectl apply` keeps a copy of the whole in an
/// annotation, and every watch of CRDs carries it.
pub const MAX_BYTES: usize = 32 * 1024;

/// Prints the definitions of both kinds, or writes them into a folder.
#[derive(Debug, clap::Args)]
pub struct CrdsArgs {
    /// Folder to write the files into, instead of printing them.
    #[arg(long, value_name = "DIR")]
    pub dir: Option<PathBuf>,
}

/// Why the definitions could not be written.
#[derive(Debug, thiserror::Error)]
pub enum CrdsError {
    /// A definition has no YAML form.
    #[error("the definition of {name} cannot be written as YAML")]
    Yaml {
        /// The CRD's name.
        name: String,
        /// What the serialiser said.
        #[source]
        source: serde_saphyr::ser::Error,
    },
    /// A file or folder could not be written.
    #[error("cannot write {path}", path = path.display())]
    File {
        /// Which one.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The output was closed.
    #[error("cannot print the definitions")]
    Print(#[source] io::Error),
}

/// Makes both definitions, as the API server is to get them.
#[must_use]
pub fn definitions() -> [CustomResourceDefinition; 2] {
    [KeyProtectInstance::crd(), KeyProtectKey::crd()].map(|mut crd| {
        for version in &mut crd.spec.versions {
            let schema = version.schema.as_mut();
            let Some(root) = schema.and_then(|schema| schema.open_api_v3_schema.as_mut()) else {
                continue;
            };
            tidy(root);
            let status = root
                .properties
                .as_mut()
                .and_then(|all| all.get_mut("status"));
            if let Some(status) = status {
                // A null there would stand in the way of the default.
                status.nullable = None;
                trust(status);
            }
        }
        crd
    })
}

/// Brings the derived schema into the form that serves people best.
///
/// Optional fields are nullable, and an absent one may be written as null: templates that leave
/// a value empty make nulls, and a server-side apply does not drop them before it validates. In
/// rules a null is absent too (`has` is false). Enumerations are not nullable: the API server
/// finds null in none. (Elsewhere than in an apply it drops a null that a field cannot be.)
///
/// Descriptions become one line each, which `kubectl explain` wraps as the terminal wants it.
fn tidy(schema: &mut JSONSchemaProps) {
    if schema.enum_.is_some() {
        schema.nullable = None;
    }
    schema.title = None;
    if let Some(text) = &mut schema.description {
        *text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    }
    children(schema).for_each(tidy);
}

/// Takes the rules and long descriptions out of status. Only the operator writes it, on its
/// dearest request, and a rule there could do nothing but refuse that.
fn trust(schema: &mut JSONSchemaProps) {
    schema.x_kubernetes_validations = None;
    if let Some(condition) = schema.properties.as_mut()
        && condition.contains_key("lastTransitionTime")
    {
        for (name, field) in condition {
            field.description = condition_field(name).map(str::to_owned);
        }
    }
    children(schema).for_each(trust);
}

/// Describes a field of a condition in fewer words than Kubernetes' own type has.
fn condition_field(name: &str) -> Option<&'static str> {
    Some(match name {
        "lastTransitionTime" => "When status last changed.",
        "message" => "What happened, and what to do about it.",
        "observedGeneration" => "The generation of spec that the condition speaks of.",
        "reason" => "Why, in one word.",
        "status" => "True, False or Unknown.",
        "type" => "Which condition it is.",
        _ => return None,
    })
}

/// The schemas that are directly within another.
fn children(schema: &mut JSONSchemaProps) -> impl Iterator<Item = &mut JSONSchemaProps> {
    let items = match schema.items.as_mut() {
        Some(JSONSchemaPropsOrArray::Schema(item)) => Some(&mut **item),
        _ => None,
    };
    let values = match schema.additional_properties.as_mut() {
        Some(JSONSchemaPropsOrBool::Schema(value)) => Some(&mut **value),
        _ => None,
    };
    let properties = schema.properties.iter_mut().flat_map(BTreeMap::values_mut);
    properties.chain(items).chain(values)
}

/// Writes both definitions: file name and YAML.
///
/// # Errors
/// When a definition cannot be written as YAML, which a test rules out.
pub fn yaml() -> Result<Vec<(String, String)>, CrdsError> {
    definitions()
        .iter()
        .map(|crd| {
            let name = format!("{}.yaml", crd.spec.names.plural);
            Ok((name, document(crd)?))
        })
        .collect()
}

fn document(crd: &CustomResourceDefinition) -> Result<String, CrdsError> {
    let body = serde_saphyr::to_string(crd).map_err(|source| CrdsError::Yaml {
        name: crd.metadata.name.clone().unwrap_or_default(),
        source,
    })?;
    Ok(format!(
        "# Made by `key-protect-operator crds` from the Rust types: change those, not this.\n{body}"
    ))
}

/// Carries out the subcommand.
///
/// # Errors
/// When the output or a file cannot be written.
pub fn run(args: &CrdsArgs) -> Result<(), CrdsError> {
    let documents = yaml()?;
    let Some(dir) = &args.dir else {
        let mut out = io::stdout().lock();
        return documents
            .iter()
            .try_for_each(|(_, text)| writeln!(out, "---\n{}", text.trim_end()))
            .map_err(CrdsError::Print);
    };
    let failed = |path: PathBuf| move |source| CrdsError::File { path, source };
    fs::create_dir_all(dir).map_err(failed(dir.clone()))?;
    for (name, text) in documents {
        let path = dir.join(name);
        fs::write(&path, text).map_err(failed(path.clone()))?;
    }
    Ok(())
}
