//! How long one new object waits for its Secret, and how long a deleted Secret is away: seen by
//! somebody who watches both.

use std::time::{Duration, Instant};

use http::Method;
use serde::Serialize;
use serde_json::Value;

use crate::bed::{Bed, Kind, NEW, Object, Places, Wanted};
use crate::cold::{self, Eyes};
use crate::failure::{Context, Result};
use crate::operator::Operator;
use crate::report::{millis, round};

const PATIENCE: Duration = Duration::from_secs(60);
/// Keys for objects that are made during a cold start, at most.
const LATER: usize = 400;

/// One sample, in milliseconds.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Sample {
    /// Between the two events, as a watch shows them.
    pub(crate) seen_ms: f64,
    /// From before the request was sent until the Secret was seen.
    pub(crate) sent_ms: f64,
}

/// Samples of one kind.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(transparent)]
pub(crate) struct Samples(pub(crate) Vec<Sample>);

impl Samples {
    /// The value that this part of the samples does not exceed.
    pub(crate) fn quantile(&self, part: f64) -> f64 {
        quantile(self.0.iter().map(|sample| sample.seen_ms).collect(), part)
    }

    /// The same for the time since the request was sent.
    pub(crate) fn sent_quantile(&self, part: f64) -> f64 {
        quantile(self.0.iter().map(|sample| sample.sent_ms).collect(), part)
    }
}

/// Nearest rank.
pub(crate) fn quantile(mut values: Vec<f64>, part: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "a rank within the samples"
    )]
    let rank = (part * values.len() as f64).ceil() as usize;
    values
        .get(rank.saturating_sub(1))
        .copied()
        .unwrap_or(f64::NAN)
}

/// Latencies on a bed where everything else is in sync, and during a cold start.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Latencies {
    pub(crate) objects: usize,
    /// New objects whose alias the last listing shows.
    pub(crate) listed: Samples,
    /// New objects for keys that were made after it.
    pub(crate) unlisted: Samples,
    pub(crate) restored: Samples,
    /// New objects in a namespace of their own while all others wait for their first Secret.
    pub(crate) during_cold: Samples,
}

/// Measures all of them.
pub(crate) async fn measure(
    places: &Places,
    objects: usize,
    fence: bool,
    samples: usize,
) -> Result<Latencies> {
    let wanted = Wanted {
        objects,
        later: samples.max(LATER),
        kind: Kind::Own,
        fence,
        audited: None,
    };
    let bed = Bed::make(places, &wanted).await?;
    let eyes = Eyes::open(&bed).await?;
    let (mut operator, _) = cold::start(&bed, &eyes, &places.operator).await?;
    operator.until_quiet().await?;
    let mut listed = Samples::default();
    for number in 0..samples {
        listed
            .0
            .push(new_object(&bed, &eyes, bed.later(number)).await?);
    }
    operator.until_quiet().await?;
    let mut unlisted = Samples::default();
    for number in 0..samples {
        let alias = format!("brand-new-{number}");
        bed.emulator.key(&alias).await?;
        unlisted.0.push(new_object(&bed, &eyes, alias).await?);
    }
    operator.until_quiet().await?;
    let mut restored = Samples::default();
    for object in bed.objects.iter().take(samples) {
        restored.0.push(restore(&bed, &eyes, object).await?);
    }
    operator.stop().await?;
    drop((eyes, bed));
    let bed = Bed::make(places, &wanted).await?;
    let during_cold = during_cold(places, &bed).await?;
    Ok(Latencies {
        objects,
        listed,
        unlisted,
        restored,
        during_cold,
    })
}

/// Makes an object and waits for its Secret and its status.
async fn new_object(bed: &Bed, eyes: &Eyes, name: String) -> Result<Sample> {
    let key = format!("{NEW}/{name}");
    let sent = Instant::now();
    bed.make_object(NEW.to_owned(), name).await?;
    let secret = eyes.secrets.until_added(&key, sent, PATIENCE).await?;
    let object = eyes.keys.until_added(&key, sent, PATIENCE).await?;
    eyes.keys
        .until(&format!("the status of {key}"), PATIENCE, |log| {
            log.objects.get(&key).and_then(|seen| seen.modified)
        })
        .await?;
    Ok(Sample {
        seen_ms: between(object, secret),
        sent_ms: between(sent, secret),
    })
}

/// Deletes an object's Secret and waits until it is there again.
async fn restore(bed: &Bed, eyes: &Eyes, object: &Object) -> Result<Sample> {
    let key = object.key();
    let Object {
        namespace, name, ..
    } = object;
    let path = format!("/api/v1/namespaces/{namespace}/secrets/{name}");
    let sent = Instant::now();
    bed.admin.ask(Method::DELETE, &path, &Value::Null).await?;
    let secret = eyes.secrets.until_added(&key, sent, PATIENCE).await?;
    let deleted = eyes
        .secrets
        .log()
        .objects
        .get(&key)
        .and_then(|seen| seen.deleted)
        .context(|| format!("{key} was not seen to go"))?;
    // One after the other: the status follows the Secret.
    eyes.keys
        .until(&format!("the status of {key}"), PATIENCE, |log| {
            let seen = log.objects.get(&key)?;
            // Two watches: the one may be behind the other.
            seen.last.filter(|last| *last > sent)
        })
        .await?;
    Ok(Sample {
        seen_ms: between(deleted, secret),
        sent_ms: between(sent, secret),
    })
}

/// While all others wait, makes one object after the other elsewhere.
async fn during_cold(places: &Places, bed: &Bed) -> Result<Samples> {
    let eyes = Eyes::open(bed).await?;
    let operator = Operator::start(&places.operator, bed)?;
    let all = bed.objects.len();
    eyes.secrets
        .until("the cold start goes on", PATIENCE, |log| {
            (log.added > 0).then_some(())
        })
        .await?;
    let mut samples = Samples::default();
    for number in 0..LATER {
        let name = bed.later(number);
        let sample = new_object(bed, &eyes, name).await?;
        // What is measured is the crowd: nearly over is over.
        if eyes.secrets.log().added > all * 19 / 20 + number {
            break;
        }
        samples.0.push(sample);
    }
    cold::until_done(bed, &eyes).await?;
    operator.stop().await?;
    Ok(samples)
}

/// Milliseconds from one moment to another; negative, where the second came first.
fn between(from: Instant, to: Instant) -> f64 {
    round(if to >= from {
        millis(to - from)
    } else {
        -millis(from - to)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_values_that_occurred() {
        let values: Vec<f64> = (1..=10).rev().map(f64::from).collect();
        for (part, value) in [(0.5, 5.0), (0.9, 9.0), (0.99, 10.0), (0.0, 1.0)] {
            assert!(
                (quantile(values.clone(), part) - value).abs() < 1e-9,
                "{part}"
            );
        }
        assert!(quantile(Vec::new(), 0.5).is_nan());
    }
}
