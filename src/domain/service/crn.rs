//! Reads the CRN of an instance, in the forms in which people have it at hand. Segments are
//! parsed, never the whole compared: Dedicated and staging clouds have another `cname`.

use crate::domain::service::ids::{InstanceId, Region};

/// Which service a CRN names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CrnService {
    /// `kms`: Key Protect, Standard or Dedicated alike.
    Kms,
    /// `hs-crypto`: Hyper Protect Crypto Services.
    HsCrypto,
}

/// The CRN of an instance, as far as the operator needs it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InstanceCrn {
    /// Which service it names.
    pub service: CrnService,
    /// The instance's region.
    pub region: Region,
    /// The instance's ID.
    pub instance: InstanceId,
    /// What was taken as what, where the text is not the full CRN of an instance.
    pub warnings: Vec<String>,
}

/// Says what is wrong with a CRN, in words that finish "spec.crn: …".
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CrnError {
    /// It has other parts than a CRN.
    #[error(
        "must look like crn:v1:bluemix:public:kms:us-south:a/<account>:<instance ID>::, as 'ibmcloud resource service-instance NAME --id' prints it"
    )]
    Form,
    /// It names some other service.
    #[error(
        "names another service than Key Protect (kms) or Hyper Protect Crypto Services (hs-crypto); use the CRN of the key management instance"
    )]
    Service,
    /// Its region has no region's form.
    #[error("its sixth part must be a region like us-south or eu-de")]
    Region,
    /// It has no account.
    #[error("its seventh part must be a/<account ID>")]
    Account,
    /// It ends before the instance's ID.
    #[error(
        "ends after the account and names no instance; copy the whole line that 'ibmcloud resource service-instance NAME --id' prints"
    )]
    NoInstance,
    /// The ID that follows the CRN is another one than the one in it.
    #[error(
        "the instance ID after the CRN is another one than the one in it; remove the ID or correct the CRN"
    )]
    TwoInstances,
}

/// Reads the CRN of an instance.
///
/// Besides the full CRN these are understood: the line that `ibmcloud resource
/// service-instance NAME --id` prints (CRN, blank, GUID), a key's CRN (which names its
/// instance), and the truncated form that IBM's page of December 2017 shows, which ends after
/// `a/<GUID>` where that last part is the *instance* ID. The last two come with a warning that
/// says what was taken as what.
///
/// # Errors
/// Says which part is wrong.
pub fn parse(text: &str) -> Result<InstanceCrn, CrnError> {
    let mut words = text.split([' ', '\t']).filter(|word| !word.is_empty());
    let crn = words.next().ok_or(CrnError::Form)?;
    let pasted = words
        .next()
        .map(|word| InstanceId::parse(word).map_err(|_| CrnError::Form))
        .transpose()?;
    if words.next().is_some() {
        return Err(CrnError::Form);
    }

    let parts: Vec<&str> = crn.split(':').collect();
    let (head, tail) = parts.split_at_checked(7).ok_or(CrnError::Form)?;
    let &[scheme, version, cname, ctype, service, region, scope] = head else {
        return Err(CrnError::Form);
    };
    let is_word = |part: &str| {
        !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
    };
    if scheme != "crn" || version != "v1" || !is_word(cname) || !is_word(ctype) {
        return Err(CrnError::Form);
    }
    let service = match service {
        "kms" => CrnService::Kms,
        "hs-crypto" => CrnService::HsCrypto,
        _ => return Err(CrnError::Service),
    };
    let region = Region::parse(region).map_err(|_| CrnError::Region)?;
    let account = scope.strip_prefix("a/").ok_or(CrnError::Account)?;

    let mut warnings = Vec::new();
    let named = match tail {
        [] => truncated(account, pasted.as_ref(), &mut warnings)?,
        [instance, resource_type, resource] => {
            if !is_account(account) {
                return Err(CrnError::Account);
            }
            named_instance(instance, resource_type, resource, &mut warnings)?
        }
        _ => return Err(CrnError::Form),
    };
    let instance = match (named, pasted) {
        (Some(named), Some(pasted)) if named != pasted => return Err(CrnError::TwoInstances),
        (Some(instance), _) | (None, Some(instance)) => instance,
        (None, None) => return Err(CrnError::NoInstance),
    };
    Ok(InstanceCrn {
        service,
        region,
        instance,
        warnings,
    })
}

fn is_account(text: &str) -> bool {
    (text.len() == 32 && text.bytes().all(|b| b.is_ascii_hexdigit()))
        || InstanceId::parse(text).is_ok()
}

/// Reads what stands in the account's place of a CRN that ends there.
fn truncated(
    account: &str,
    pasted: Option<&InstanceId>,
    warnings: &mut Vec<String>,
) -> Result<Option<InstanceId>, CrnError> {
    let Ok(id) = InstanceId::parse(account) else {
        // 32 hexadecimal digits without hyphens: an account ID, as in today's CRNs.
        return if is_account(account) {
            Ok(None)
        } else {
            Err(CrnError::Account)
        };
    };
    if pasted.is_some_and(|pasted| *pasted != id) {
        warnings.push(format!(
            "spec.crn: the CRN ends after a/{account}; that part was taken as an account, and the GUID after the CRN as the instance ID"
        ));
        return Ok(None);
    }
    warnings.push(format!(
        "spec.crn: the CRN ends after a/{account}; that last part was taken as the instance ID, as in IBM's instructions of 2017. The full CRN is what 'ibmcloud resource service-instance NAME --id' prints"
    ));
    Ok(Some(id))
}

fn named_instance(
    instance: &str,
    resource_type: &str,
    resource: &str,
    warnings: &mut Vec<String>,
) -> Result<Option<InstanceId>, CrnError> {
    if !(resource_type.is_empty() && resource.is_empty()) {
        if resource_type != "key" || InstanceId::parse(resource).is_err() {
            return Err(CrnError::Form);
        }
        warnings.push(
            "spec.crn: is the CRN of a key; only the instance in it was taken, and the key's part ignored"
                .to_owned(),
        );
    }
    if instance.is_empty() {
        return Ok(None);
    }
    InstanceId::parse(instance)
        .map(Some)
        .map_err(|_| CrnError::Form)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ACCOUNT: &str = "f047b55a3362ac06afad8a3f2f5586ea";
    const GUID: &str = "12e8c9c2-a162-472d-b7d6-8b9a86b815a6";
    const OTHER: &str = "02fd6835-6001-4482-a892-13bd2085f75d";

    fn ok(text: &str) -> (CrnService, String, String, usize) {
        match parse(text) {
            Ok(crn) => (
                crn.service,
                crn.region.to_string(),
                crn.instance.to_string(),
                crn.warnings.len(),
            ),
            Err(error) => panic!("{text:?}: {error}"),
        }
    }

    #[test]
    fn every_form_people_have_at_hand_is_read() {
        let kms = |text: &str, warnings| {
            assert_eq!(
                ok(text),
                (CrnService::Kms, "us-south".into(), GUID.into(), warnings),
                "{text:?}"
            );
        };
        let head = "crn:v1:bluemix:public:kms:us-south:a/";
        kms(&format!("{head}{ACCOUNT}:{GUID}::"), 0);
        kms(&format!("{head}{ACCOUNT}:{GUID}:: {GUID}"), 0);
        kms(&format!("  {head}{ACCOUNT}:{GUID}::   {GUID} "), 0);
        kms(&format!("{head}{ACCOUNT}:{}::", GUID.to_uppercase()), 0);
        kms(&format!("{head}{ACCOUNT}::: {GUID}"), 0);
        kms(&format!("{head}{ACCOUNT} {GUID}"), 0);
        kms(&format!("{head}{OTHER}:{GUID}::"), 0);
        kms(&format!("{head}{ACCOUNT}:{GUID}:key:{OTHER}"), 1);
        kms(&format!("{head}{GUID}"), 1);
        kms(&format!("{head}{GUID} {GUID}"), 1);
        kms(&format!("{head}{OTHER} {GUID}"), 1);
        kms(
            &format!("crn:v1:staging-x:dedicated:kms:us-south:a/{ACCOUNT}:{GUID}::"),
            0,
        );
        assert_eq!(
            ok(&format!(
                "crn:v1:bluemix:public:hs-crypto:eu-de:a/{ACCOUNT}:{GUID}::"
            )),
            (CrnService::HsCrypto, "eu-de".into(), GUID.into(), 0)
        );
    }

    #[test]
    fn the_truncated_form_says_what_was_taken_as_what() {
        let crn = parse(&format!("crn:v1:bluemix:public:kms:us-south:a/{GUID}"));
        let warnings = crn.map(|crn| crn.warnings).unwrap_or_default();
        assert!(
            warnings
                .iter()
                .any(|w| w.contains(GUID) && w.contains("taken as the instance ID")),
            "{warnings:?}"
        );
    }

    #[test]
    fn anything_else_is_refused_by_part() {
        let head = "crn:v1:bluemix:public:kms:us-south";
        for (text, error) in [
            (String::new(), CrnError::Form),
            ("crn".into(), CrnError::Form),
            (
                format!("arn:v1:bluemix:public:kms:us-south:a/{ACCOUNT}:{GUID}::"),
                CrnError::Form,
            ),
            (
                format!("crn:v2:bluemix:public:kms:us-south:a/{ACCOUNT}:{GUID}::"),
                CrnError::Form,
            ),
            (
                format!("crn:v1::public:kms:us-south:a/{ACCOUNT}:{GUID}::"),
                CrnError::Form,
            ),
            (
                format!("crn:v1:bluemix:public:cloud-object-storage:global:a/{ACCOUNT}:{GUID}::"),
                CrnError::Service,
            ),
            (
                format!("crn:v1:bluemix:public:kms:US-SOUTH:a/{ACCOUNT}:{GUID}::"),
                CrnError::Region,
            ),
            (
                format!("crn:v1:bluemix:public:kms:evil.com/us-south:a/{ACCOUNT}:{GUID}::"),
                CrnError::Region,
            ),
            (format!("{head}:o/{ACCOUNT}:{GUID}::"), CrnError::Account),
            (format!("{head}:a/xyz:{GUID}::"), CrnError::Account),
            (format!("{head}:a/xyz"), CrnError::Account),
            (format!("{head}:a/{ACCOUNT}"), CrnError::NoInstance),
            (format!("{head}:a/{ACCOUNT}:::"), CrnError::NoInstance),
            (format!("{head}:a/{ACCOUNT}:{GUID}"), CrnError::Form),
            (format!("{head}:a/{ACCOUNT}:{GUID}:::"), CrnError::Form),
            (
                format!("{head}:a/{ACCOUNT}:{GUID}:ring:{OTHER}"),
                CrnError::Form,
            ),
            (format!("{head}:a/{ACCOUNT}:{GUID}::\r\n"), CrnError::Form),
            (
                format!("{head}:a/{ACCOUNT}:{GUID}::\r\nx-evil: 1"),
                CrnError::Form,
            ),
            (
                format!("{head}:a/{ACCOUNT}:{GUID}:: {OTHER}"),
                CrnError::TwoInstances,
            ),
            (
                format!("{head}:a/{ACCOUNT}:{GUID}:: {GUID} {GUID}"),
                CrnError::Form,
            ),
        ] {
            assert_eq!(parse(&text), Err(error), "{text:?}");
        }
    }
}
