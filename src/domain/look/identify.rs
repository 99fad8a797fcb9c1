//! Which keys an object means now, found in what is known of the instance or still to be asked
//! for. What a key that was found, or an absence, amounts to stands in [`judge`] and [`absent`].

use jiff::Timestamp;

use crate::api::key::SourceKey;
use crate::domain::access::{Question, Verdict};
use crate::domain::look::absent;
use crate::domain::look::hindrance::{Hindrance, Identity, Need, failed};
use crate::domain::look::judge;
use crate::domain::look::known::{
    answer, answers_after, fits, fresh_after, meant, prior, questions,
};
use crate::domain::look::observed::Observed;
use crate::domain::look::request::{SyncRequest, capitalised};
use crate::domain::service::catalogue::{Listing, LookUp};
use crate::domain::service::failure::FailureKind;
use crate::domain::service::metadata::KeyMetadata;
use crate::domain::service::reference::{KeyName, KeyReference};

/// Finds the key of every source of the target. What has to be asked for several of them is
/// asked at once; what blocks one of them blocks before anything is asked for the others.
///
/// # Errors
/// Says what must be asked first, or why a key cannot be used.
pub(super) fn identify_all(
    observed: &Observed<'_>,
    request: &SyncRequest<'_>,
) -> Result<Vec<KeyMetadata>, Hindrance> {
    let mut keys = Vec::with_capacity(request.target.sources.len());
    let mut questions: Vec<Question> = Vec::new();
    let mut not_before = Timestamp::MIN;
    for source in &request.target.sources {
        match identify(observed, request, &source.key) {
            Ok(key) => keys.push(key),
            Err(Hindrance::Ask(Need::Answers(unasked, after))) => {
                not_before = not_before.max(after);
                for question in unasked {
                    if !questions.contains(&question) {
                        questions.push(question);
                    }
                }
            }
            Err(hindrance) => return Err(hindrance),
        }
    }
    if questions.is_empty() {
        Ok(keys)
    } else {
        Err(Hindrance::Ask(Need::Answers(questions, not_before)))
    }
}

/// Finds the key that a reference means, over catalogue ∩ grant.
fn identify(
    observed: &Observed<'_>,
    request: &SyncRequest<'_>,
    reference: &KeyReference,
) -> Identity {
    let listing = &observed.knowledge.listing;
    let fresh_after = fresh_after(observed);
    if listing.attempted_at().is_none_or(|at| at < fresh_after) {
        return Err(Hindrance::Ask(Need::Listing(fresh_after)));
    }
    let prior = prior(observed, request, reference);
    let reference = &meant(observed, request, reference);
    if let Some(need) = newer_listing(observed, listing, reference, prior) {
        return Err(Hindrance::Ask(need));
    }
    if let Some(LookUp::Found(row)) = listing
        .in_force()
        .map(|c| c.look_up(reference, &request.grant))
    {
        return judge::found(observed, request, reference, row.clone(), prior);
    }
    if let Listing::Failed { failure, .. } = listing
        && !listing.is_refused()
    {
        return Err(failed(&capitalised(reference), failure).into());
    }
    let mut refused = None;
    let mut unasked = Vec::new();
    let mut untold = false;
    for question in questions(request, reference, prior) {
        match answer(observed, request, &question).map(|answer| &answer.result) {
            None => unasked.push(question),
            Some(Ok(key)) if fits(key, reference, request) => {
                return judge::found(observed, request, reference, key.clone(), prior);
            }
            Some(Ok(key)) => untold |= request.grant.verdict(key) == Verdict::Unknown,
            Some(Err(failure)) => match failure.kind {
                FailureKind::KeyNotFound | FailureKind::KeyGone => {}
                FailureKind::Denied => refused = Some(failure),
                _ => return Err(failed(&capitalised(reference), failure).into()),
            },
        }
    }
    if !unasked.is_empty() {
        let after = answers_after(observed);
        return Err(Hindrance::Ask(Need::Answers(unasked, after)));
    }
    // On a key never synced, this and an absence read alike.
    if untold && prior.is_some() {
        return Err(absent::untold(request, reference).into());
    }
    absent::missing(observed, request, reference, prior, refused)
}

/// A name can only be looked up in a listing, and one older than the object may lack the key
/// that the object was made for.
fn newer_listing(
    observed: &Observed<'_>,
    listing: &Listing,
    reference: &KeyReference,
    prior: Option<&SourceKey>,
) -> Option<Need> {
    let created = observed.object.metadata.creation_timestamp.as_ref()?.0;
    let by_name = matches!(reference.name, KeyName::Name(_)) && prior.is_none();
    match listing {
        // Where the API server's clock is ahead, no listing can be so new.
        Listing::Fresh(catalogue)
            if by_name && created <= observed.now && catalogue.listed_at() < created =>
        {
            Some(Need::Listing(created))
        }
        // Whether keys are listed is decided anew, now that one is named by name.
        Listing::Singly { at, .. } if by_name && *at < observed.now => {
            Some(Need::Listing(observed.now))
        }
        _ => None,
    }
}
