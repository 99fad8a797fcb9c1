//! A call of the Key Protect API: what its headers say, and who makes it.
//!
//! Decides whether a call gets as far as an operation: the token, then the
//! instance, then the ring and the key, then the right. The order is the
//! service's, and shows in which of several errors a caller gets.

use std::net::IpAddr;

use http::HeaderMap;
use jiff::Timestamp;

use super::answer::Answer;
use super::operations::{
    actions, aliases, import_tokens, keys, kmip, policies, registrations, rings, versions,
};
use super::route::{Operation, Route};
use crate::domain::access::{Action, Rights};
use crate::domain::instance::{Instance, Random};
use crate::domain::key::Damage;
use crate::domain::modes::{MissingInstanceCode, Modes};
use crate::domain::refusal::Refusal;
use crate::iam::token::Unfit;
use crate::world::{World, draw};

/// A request, read.
#[derive(Debug)]
pub struct Call {
    /// The operation and what the path names.
    pub route: Route,
    /// The query.
    pub query: Vec<(String, String)>,
    /// The headers.
    pub headers: HeaderMap,
    /// The body.
    pub body: bytes::Bytes,
    /// The present.
    pub now: Timestamp,
    /// Randomness for what the call may make.
    pub random: Random,
    /// The host that it was sent to, by its name.
    pub host: Option<String>,
    /// Where the caller is.
    pub peer: Option<IpAddr>,
}

/// What became known of a call on the way, for the journal.
#[derive(Debug, Default, Clone)]
pub struct Trace {
    /// The instance.
    pub instance: Option<String>,
    /// The service ID.
    pub service_id: Option<String>,
    /// The key's ID.
    pub key_id: Option<String>,
}

/// A call that has got as far as its operation.
#[derive(Debug)]
pub struct Admitted<'w> {
    /// The call.
    pub call: &'w Call,
    /// The instance.
    pub instance: &'w mut Instance,
    /// The switches.
    pub modes: &'w Modes,
    /// The caller's rights on the instance.
    pub rights: Rights,
    /// The caller, as `createdBy` shows it.
    pub caller: String,
    /// The service of IBM Cloud that the caller acts for.
    pub service: Option<String>,
}

impl Call {
    /// Returns a header's text; an empty one counts as none.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .get(name)?
            .to_str()
            .ok()
            .filter(|text| !text.is_empty())
    }

    /// Returns a member of the query.
    pub fn query(&self, name: &str) -> Option<&str> {
        self.query
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.as_str())
    }

    /// Says whether the answer is to hold the resource: `Some(false)` when the
    /// caller prefers none.
    pub fn wants_representation(&self) -> Option<bool> {
        let prefer = self.header("prefer")?.to_ascii_lowercase();
        if prefer.contains("return=representation") {
            return Some(true);
        }
        prefer.contains("return=minimal").then_some(false)
    }

    /// Returns the item of the path that a route of this kind has.
    pub fn item(&self) -> &str {
        self.route.item.as_deref().unwrap_or_default()
    }

    /// Returns the part of that item that a route of this kind has.
    pub fn part(&self) -> &str {
        self.route.part.as_deref().unwrap_or_default()
    }

    /// Says whether it came by a private endpoint, which its host's name tells.
    fn is_private(&self) -> bool {
        let host = self.host.as_deref().unwrap_or_default();
        host.split('.')
            .any(|label| label == "private" || label.starts_with("private-"))
    }

    fn bearer(&self) -> Option<&str> {
        let (scheme, token) = self.header("authorization")?.split_once(' ')?;
        let token = token.trim();
        (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(token)
    }
}

impl Admitted<'_> {
    /// Refuses a caller who may not do this on the instance as a whole.
    pub fn require(&self, action: Action) -> Result<(), Refusal> {
        if self.rights.on_whole(action) {
            return Ok(());
        }
        Err(Refusal::no_access())
    }
}

/// Serves a call of the Key Protect API.
pub fn serve(world: &mut World, call: &Call, trace: &mut Trace) -> Answer {
    let performed = admit(world, call, trace).and_then(|admitted| perform(admitted, trace));
    let mut answer = performed.unwrap_or_else(|refusal| {
        let code = refusal.code().map(str::to_owned);
        let refusal = if world.modes.code_in_error_msg {
            refusal.with_code_in_message()
        } else {
            refusal
        };
        Answer {
            code,
            ..Answer::from(refusal)
        }
    });
    if answer.status == 401 && world.modes.www_authenticate {
        answer = answer.header("www-authenticate", "Bearer realm=\"IAM\"");
    }
    answer
}

fn admit<'w>(
    world: &'w mut World,
    call: &'w Call,
    trace: &mut Trace,
) -> Result<Admitted<'w>, Refusal> {
    let token = call.bearer().ok_or_else(Refusal::bad_token)?;
    let claims = world
        .signer
        .verify(token, call.now)
        .map_err(|unfit| match unfit {
            Unfit::NoJwt => Refusal::because(
                400,
                "BEARER_SUB_EXTRACTION_ERR",
                "The subject could not be extracted from the bearer token.",
            ),
            Unfit::Forged | Unfit::Expired => Refusal::bad_token(),
        })?;
    trace.service_id = Some(claims.bearer().to_owned());
    let id = named_instance(world, call)?;
    trace.instance = id.clone();
    let unknown = || match world.modes.unknown_instance {
        401 => Refusal::no_access(),
        status => Refusal::because(
            status,
            "INSTANCE_NOT_FOUND_ERR",
            "The service instance does not exist.",
        ),
    };
    let Some(id) = id.filter(|id| world.instances.contains_key(id)) else {
        return Err(unknown());
    };
    let grants = world.identities.grants(&claims.iam_id, call.now);
    let rights = Rights::on_instance(grants, &id);
    let service = world.identities.service(&claims.iam_id).map(str::to_owned);
    let is_settled = |instance: &Instance| instance.is_settled(&world.modes, call.now);
    if call.route.operation.writes() || !world.instances.get(&id).is_some_and(is_settled) {
        world.keep_past(&id, call.now);
    }
    let Some(instance) = world.instances.get_mut(&id) else {
        return Err(Refusal::no_access());
    };
    instance.advance(&world.modes, call.now, &mut draw);
    instance
        .policies
        .check_network(call.peer, call.is_private())?;
    Ok(Admitted {
        call,
        instance,
        modes: &world.modes,
        rights,
        caller: claims.iam_id.clone(),
        service,
    })
}

/// Finds the instance that the headers name: `bluemix-instance`, or in its
/// place a Cloud Foundry organisation and space.
fn named_instance(world: &World, call: &Call) -> Result<Option<String>, Refusal> {
    if let Some(id) = call.header("bluemix-instance") {
        return Ok(Some(id.to_owned()));
    }
    let (Some(org), Some(space)) = (call.header("bluemix-org"), call.header("bluemix-space"))
    else {
        let message = "The header Bluemix-Instance is missing.";
        return Err(match world.modes.missing_instance_code {
            MissingInstanceCode::InvalidField => Refusal::field("bluemix-instance", message),
            MissingInstanceCode::None => Refusal::bare(400, format!("Bad Request: {message}")),
        });
    };
    let home = (org.to_owned(), space.to_owned());
    Ok(world
        .instances
        .values()
        .find(|instance| instance.cloud_foundry.as_ref() == Some(&home))
        .map(|instance| instance.id.clone()))
}

fn perform(mut admitted: Admitted<'_>, trace: &mut Trace) -> Result<Answer, Refusal> {
    use Operation as Op;
    let operation = admitted.call.route.operation;
    if admitted.modes.crypto_unit_uninitialized {
        return Err(Refusal::bare(503, "No crypto unit is initialised."));
    }
    let failed_over = admitted
        .instance
        .read_only_until
        .is_some_and(|until| admitted.call.now < until);
    if operation.writes() && (admitted.modes.read_only || failed_over) {
        return Err(Refusal::bare(
            503,
            "The service is read-only after a failover.",
        ));
    }
    match operation {
        Op::List => keys::list(&mut admitted),
        Op::Count => keys::count(&admitted),
        Op::Create => keys::create(&mut admitted, false, trace),
        Op::CreateWithPolicies => keys::create(&mut admitted, true, trace),
        Op::Rings => rings::list(&admitted),
        Op::CreateRing => rings::create(&mut admitted),
        Op::DeleteRing => rings::delete(&mut admitted),
        Op::InstancePolicies => policies::of_instance(&admitted),
        Op::SetInstancePolicies => policies::set_of_instance(&mut admitted),
        Op::AllowedIpPort => policies::allowed_ip_port(&admitted),
        Op::CreateImportToken => import_tokens::create(&mut admitted),
        Op::ImportToken => import_tokens::retrieve(&mut admitted),
        Op::AllRegistrations => registrations::of_all(&admitted),
        Op::KmipAdapters => kmip::list(&admitted),
        Op::CreateKmipAdapter => kmip::create(&mut admitted),
        Op::KmipAdapter => kmip::get(&admitted),
        Op::DeleteKmipAdapter => kmip::delete(&mut admitted),
        Op::KmipObjects => kmip::objects(&admitted),
        Op::KmipObject | Op::DeleteKmipObject => kmip::object(&admitted),
        Op::KmipCertificates => kmip::certificates(&admitted),
        Op::AddKmipCertificate => kmip::add_certificate(&mut admitted),
        Op::KmipCertificate => kmip::certificate(&admitted),
        Op::DeleteKmipCertificate => kmip::delete_certificate(&mut admitted),
        _ => {
            let id = find_key(&mut admitted, trace)?;
            perform_on_key(&mut admitted, &id)
        }
    }
}

/// The operations on a key that was found and may be operated on.
fn perform_on_key(admitted: &mut Admitted<'_>, id: &str) -> Result<Answer, Refusal> {
    use Operation as Op;
    let operation = admitted.call.route.operation;
    let damage = admitted.instance.key(id)?.damage;
    if damage == Some(Damage::Metadata) && !matches!(operation, Op::Delete | Op::Purge) {
        return Err(Refusal::incomplete_metadata());
    }
    let answer = match operation {
        Op::Get => keys::read(admitted, id, true),
        Op::Metadata => keys::read(admitted, id, false),
        Op::Patch => keys::patch(admitted, id),
        Op::Delete => keys::delete(admitted, id),
        Op::Purge => keys::purge(admitted, id),
        Op::Restore => keys::restore(admitted, id),
        Op::Versions => versions::list(admitted, id),
        Op::Wrap => actions::wrap_key(admitted, id),
        Op::Unwrap => actions::unwrap_key(admitted, id),
        Op::Rewrap => actions::rewrap_key(admitted, id),
        Op::Rotate => actions::rotate(admitted, id),
        Op::Enable => actions::set_enabled(admitted, id, true),
        Op::Disable => actions::set_enabled(admitted, id, false),
        Op::SetForDeletion => actions::set_for_deletion(admitted, id, true),
        Op::UnsetForDeletion => actions::set_for_deletion(admitted, id, false),
        Op::Sync => actions::sync(admitted, id),
        Op::KeyPolicies => policies::of_key(admitted, id),
        Op::SetKeyPolicies => policies::set_of_key(admitted, id),
        Op::Registrations => registrations::of_key(admitted, id),
        Op::CreateRegistration
        | Op::ReplaceRegistration
        | Op::UpdateRegistration
        | Op::DeleteRegistration => registrations::change(admitted, id),
        Op::CreateAlias => aliases::create(admitted, id),
        Op::DeleteAlias => aliases::delete(admitted, id),
        _ => Err(Refusal::bare(404, "Not Found: no such operation.")),
    };
    match operation {
        Op::Wrap | Op::Unwrap | Op::Rewrap => answer.map(|answer| actions::typed(admitted, answer)),
        _ => answer,
    }
}

/// Finds the key that the path names, where the caller may know of it.
fn find_key(admitted: &mut Admitted<'_>, trace: &mut Trace) -> Result<String, Refusal> {
    if admitted.rights.is_empty() {
        return Err(Refusal::no_access());
    }
    let name = admitted.call.route.key.clone().unwrap_or_default();
    let id = admitted
        .instance
        .resolve(&name)
        .ok_or_else(|| Refusal::key_not_found(&name))?;
    trace.key_id = Some(id.clone());
    let ring = admitted.instance.key(&id)?.ring.clone();
    if admitted
        .call
        .header("x-kms-key-ring")
        .is_some_and(|header| header != ring)
    {
        return Err(match admitted.modes.other_ring {
            401 => Refusal::no_access(),
            _ => Refusal::key_not_found(&name),
        });
    }
    let action = needed(admitted.call.route.operation);
    if admitted.rights.on_key(action, &id, &ring) {
        return Ok(id);
    }
    let hidden = !admitted.rights.on_key(Action::Read, &id, &ring);
    if hidden && admitted.modes.no_access == 404 {
        return Err(Refusal::key_not_found(&name));
    }
    Err(Refusal::no_access())
}

/// Returns the right that an operation on a key takes.
fn needed(operation: Operation) -> Action {
    use Operation as Op;
    match operation {
        Op::Metadata | Op::Versions | Op::Registrations => Action::Read,
        Op::Get => Action::ReadPayload,
        // What a service may do with registrations hangs on what it is.
        Op::CreateRegistration
        | Op::ReplaceRegistration
        | Op::UpdateRegistration
        | Op::DeleteRegistration
        | Op::Wrap
        | Op::Unwrap
        | Op::Rewrap => Action::Wrap,
        Op::CreateAlias
        | Op::DeleteAlias
        | Op::Rotate
        | Op::SetForDeletion
        | Op::UnsetForDeletion
        | Op::Sync => Action::Write,
        Op::Purge => Action::Purge,
        _ => Action::Manage,
    }
}
