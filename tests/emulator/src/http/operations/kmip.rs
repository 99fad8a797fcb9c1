//! KMIP adapters: shallow, see [`crate::domain::kmip`].

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use serde_json::{Value, json};

use super::{add, collection, read_type};
use crate::domain::access::Action;
use crate::domain::kmip::{Adapter, Certificate};
use crate::domain::modes::date;
use crate::domain::refusal::Refusal;
use crate::domain::state::{Act, permit};
use crate::http::answer::{Answer, envelope};
use crate::http::body::kmip as body;
use crate::http::calls::Admitted;

const ADAPTER_TYPE: &str = "application/vnd.ibm.kms.kmip_adapter+json";
const CERTIFICATE_TYPE: &str = "application/vnd.ibm.kms.kmip_client_certificate+json";
const OBJECT_TYPE: &str = "application/vnd.ibm.kms.kmip_object+json";
const PROFILE: &str = "native_1.0";

/// GET the adapters.
pub fn list(admitted: &Admitted<'_>) -> Result<Answer, Refusal> {
    admitted.require(Action::Read)?;
    let key = admitted.call.query("crk_id");
    let adapters = admitted.instance.kmip.all().iter();
    let rows: Vec<Value> = adapters
        .filter(|adapter| key.is_none_or(|key| key == adapter.root_key))
        .map(adapter_row)
        .collect();
    collection(admitted, ADAPTER_TYPE, rows, 100)
}

/// POST an adapter.
pub fn create(admitted: &mut Admitted<'_>) -> Result<Answer, Refusal> {
    admitted.require(Action::Manage)?;
    let call = admitted.call;
    let new = body::adapter(&call.body)?;
    if new.profile != PROFILE {
        return Err(Refusal::field("profile", "The only profile is native_1.0."));
    }
    let key = admitted.instance.key(&new.root_key)?;
    permit(key.class, key.state, Act::Wrap)?;
    let id = call.random.id.to_string();
    let adapter = Adapter {
        name: new
            .name
            .unwrap_or_else(|| format!("kmip_adapter_{}", short(&id))),
        id,
        description: new.description,
        root_key: new.root_key,
        created_by: admitted.caller.clone(),
        created_at: call.now,
        certificates: Vec::new(),
    };
    let row = adapter_row(&adapter);
    admitted.instance.kmip.add(adapter)?;
    Ok(Answer::json(
        201,
        ADAPTER_TYPE,
        &envelope(ADAPTER_TYPE, &[row]),
    ))
}

/// GET an adapter.
pub fn get(admitted: &Admitted<'_>) -> Result<Answer, Refusal> {
    let row = adapter_row(adapter(admitted)?);
    let media_type = read_type(admitted, ADAPTER_TYPE);
    Ok(Answer::json(
        200,
        media_type,
        &envelope(ADAPTER_TYPE, &[row]),
    ))
}

/// DELETE an adapter with its certificates.
pub fn delete(admitted: &mut Admitted<'_>) -> Result<Answer, Refusal> {
    admitted.require(Action::Manage)?;
    admitted.instance.kmip.remove(admitted.call.item())?;
    Ok(Answer::empty(204))
}

/// GET the objects of an adapter, of which there are none.
pub fn objects(admitted: &Admitted<'_>) -> Result<Answer, Refusal> {
    adapter(admitted)?;
    collection(admitted, OBJECT_TYPE, Vec::<Value>::new(), 100)
}

/// GET or DELETE an object of an adapter, of which there are none.
pub fn object(admitted: &Admitted<'_>) -> Result<Answer, Refusal> {
    adapter(admitted)?;
    Err(Refusal::because(
        404,
        "KMIP_NOT_FOUND_ERR",
        format!("KMIP object {} does not exist.", admitted.call.part()),
    ))
}

/// GET the certificates of an adapter.
pub fn certificates(admitted: &Admitted<'_>) -> Result<Answer, Refusal> {
    let certificates = adapter(admitted)?.certificates.iter();
    let rows: Vec<Value> = certificates
        .map(|one| certificate_row(one, false))
        .collect();
    collection(admitted, CERTIFICATE_TYPE, rows, 100)
}

/// POST a certificate.
pub fn add_certificate(admitted: &mut Admitted<'_>) -> Result<Answer, Refusal> {
    admitted.require(Action::Manage)?;
    let call = admitted.call;
    let new = body::certificate(&call.body)?;
    if CertificateDer::from_pem_slice(new.pem.as_bytes()).is_err() {
        return Err(Refusal::field(
            "certificate",
            "The certificate is not in PEM.",
        ));
    }
    let id = call.random.id.to_string();
    let certificate = Certificate {
        name: new
            .name
            .unwrap_or_else(|| format!("kmip_cert_{}", short(&id))),
        id,
        pem: new.pem,
        created_by: admitted.caller.clone(),
        created_at: call.now,
    };
    let row = certificate_row(&certificate, true);
    admitted
        .instance
        .kmip
        .find_mut(call.item())?
        .add_certificate(certificate)?;
    Ok(Answer::json(
        201,
        CERTIFICATE_TYPE,
        &envelope(CERTIFICATE_TYPE, &[row]),
    ))
}

/// GET a certificate.
pub fn certificate(admitted: &Admitted<'_>) -> Result<Answer, Refusal> {
    let found = adapter(admitted)?.certificate(admitted.call.part())?;
    let row = certificate_row(found, true);
    let media_type = read_type(admitted, CERTIFICATE_TYPE);
    Ok(Answer::json(
        200,
        media_type,
        &envelope(CERTIFICATE_TYPE, &[row]),
    ))
}

/// DELETE a certificate.
pub fn delete_certificate(admitted: &mut Admitted<'_>) -> Result<Answer, Refusal> {
    admitted.require(Action::Manage)?;
    let call = admitted.call;
    let adapter = admitted.instance.kmip.find_mut(call.item())?;
    adapter.remove_certificate(call.part())?;
    Ok(Answer::empty(204))
}

fn adapter<'a>(admitted: &'a Admitted<'_>) -> Result<&'a Adapter, Refusal> {
    admitted.require(Action::Read)?;
    admitted.instance.kmip.find(admitted.call.item())
}

fn short(id: &str) -> &str {
    id.split('-').next().unwrap_or(id)
}

fn adapter_row(adapter: &Adapter) -> Value {
    let mut row = json!({
        "id": adapter.id,
        "name": adapter.name,
        "profile": PROFILE,
        "profile_data": { "crk_id": adapter.root_key },
        "created_by": adapter.created_by,
        "created_at": date(adapter.created_at),
        "updated_by": adapter.created_by,
        "updated_at": date(adapter.created_at),
    });
    add(&mut row, "description", adapter.description.as_deref());
    row
}

fn certificate_row(certificate: &Certificate, whole: bool) -> Value {
    let mut row = json!({
        "id": certificate.id,
        "name": certificate.name,
        "created_by": certificate.created_by,
        "created_at": date(certificate.created_at),
    });
    add(&mut row, "certificate", whole.then_some(&certificate.pem));
    row
}
