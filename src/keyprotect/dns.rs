//! Name look-up that refuses to take IBM Cloud's own names to this machine or link. An admin
//! allowed those hosts for their names; whoever can forge an answer must not be able to point
//! them at a sidecar or a metadata service.

use std::net::SocketAddr;
use std::sync::Arc;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};

use crate::domain::service::hosts::is_local;

/// Says that a guarded name resolved to an address of this machine or link.
#[derive(Debug, thiserror::Error)]
#[error("a host of IBM Cloud resolved to a loopback or link-local address")]
pub(super) struct LocalAnswer;

/// Says that a name has no address.
#[derive(Debug, thiserror::Error)]
#[error("no address")]
pub(super) struct NoAddress;

/// The system's resolver, guarded for some names.
#[derive(Debug)]
pub(super) struct GuardedResolver {
    guarded: Arc<[String]>,
}

impl GuardedResolver {
    pub(super) fn new(guarded: &[String]) -> Self {
        Self {
            guarded: guarded.into(),
        }
    }
}

fn judge(
    guarded: bool,
    addresses: Vec<SocketAddr>,
) -> Result<Vec<SocketAddr>, Box<dyn std::error::Error + Send + Sync>> {
    if addresses.is_empty() {
        return Err(NoAddress.into());
    }
    // One bad answer spoils all: a resolver that mixes them is not to be trusted.
    if guarded && addresses.iter().any(|address| is_local(address.ip())) {
        return Err(LocalAnswer.into());
    }
    Ok(addresses)
}

impl Resolve for GuardedResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let guarded = Arc::clone(&self.guarded);
        Box::pin(async move {
            let host = name.as_str();
            let is_guarded = guarded.iter().any(|name| name.eq_ignore_ascii_case(host));
            let addresses = tokio::net::lookup_host((host, 0)).await?.collect();
            let addresses = judge(is_guarded, addresses)?;
            Ok(Box::new(addresses.into_iter()) as Addrs)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guarded_name_never_leads_to_this_machine_or_link() {
        for bad in [
            "127.0.0.1:0",
            "127.8.9.10:0",
            "0.0.0.0:0",
            "0.1.2.3:0",
            "169.254.169.254:0",
            "224.0.0.1:0",
            "255.255.255.255:0",
            "[::1]:0",
            "[::]:0",
            "[fe80::1]:0",
            "[ff02::1]:0",
            "[::ffff:127.0.0.1]:0",
            "[::ffff:169.254.169.254]:0",
            "[64:ff9b::7f00:1]:0",
        ] {
            let address: SocketAddr = bad.parse().unwrap();
            let good: SocketAddr = "166.9.12.1:0".parse().unwrap();
            assert!(judge(true, vec![address]).is_err(), "{bad}");
            assert!(judge(true, vec![good, address]).is_err(), "{bad}");
            assert!(judge(false, vec![address]).is_ok(), "{bad}");
        }
        for good in [
            "10.1.2.3:0",
            "166.9.12.1:0",
            "52.116.1.1:0",
            "[fd00::1]:0",
            "[2607::1]:0",
        ] {
            assert!(judge(true, vec![good.parse().unwrap()]).is_ok(), "{good}");
        }
        assert!(judge(true, Vec::new()).is_err());
    }
}
