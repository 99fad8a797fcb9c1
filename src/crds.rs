//! The subcommand `crds`: the definitions of both kinds, made from the Rust types. The files
//! under `crds/` are its output, and a test compares them.

use std::io::Write;
use std::path::PathBuf;
use std::{fs, io};

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
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

/// Makes both definitions: file name and YAML.
///
/// # Errors
/// When a definition cannot be written as YAML, which a test rules out.
pub fn yaml() -> Result<Vec<(String, String)>, CrdsError> {
    [KeyProtectInstance::crd(), KeyProtectKey::crd()]
        .into_iter()
        .map(|crd| {
            let name = format!("{}.yaml", crd.spec.names.plural);
            Ok((name, document(&crd)?))
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
