//! A strict reader of both text formats of metrics: what it takes, every scraper takes. It knows
//! the rules that matter (order, types, names, labels, buckets, the end) and refuses everything
//! else.

use std::collections::{BTreeMap, BTreeSet};

/// One line with a value.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Sample {
    pub(crate) name: String,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) value: f64,
}

/// A metric with its samples.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Family {
    /// As HELP and TYPE name it.
    pub(crate) name: String,
    pub(crate) kind: String,
    pub(crate) help: String,
    pub(crate) samples: Vec<Sample>,
}

/// A format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    Prometheus,
    OpenMetrics,
}

/// Reads a text.
pub(crate) fn read(text: &str, format: Format) -> Result<Vec<Family>, String> {
    let body = match format {
        Format::Prometheus => text,
        Format::OpenMetrics => text
            .strip_suffix("# EOF\n")
            .ok_or("does not end with # EOF")?,
    };
    if !body.ends_with('\n') {
        return Err("the last line is not ended".to_owned());
    }
    let mut families: Vec<Family> = Vec::new();
    let mut names = BTreeSet::new();
    for line in body.lines() {
        let wrong = |why: &str| format!("{why}: {line}");
        if let Some(comment) = line.strip_prefix("# ") {
            let (what, rest) = comment.split_once(' ').ok_or_else(|| wrong("a comment"))?;
            let (name, rest) = rest.split_once(' ').ok_or_else(|| wrong("a comment"))?;
            let last = families.last_mut().filter(|last| last.name == name);
            match (what, last) {
                ("HELP", None) if is_name(name) && names.insert(name.to_owned()) => {
                    families.push(Family {
                        name: name.to_owned(),
                        kind: String::new(),
                        help: rest.to_owned(),
                        samples: Vec::new(),
                    });
                }
                ("TYPE", Some(last)) if last.kind.is_empty() && is_kind(rest, format) => {
                    last.kind = rest.to_owned();
                }
                ("UNIT", Some(last))
                    if format == Format::OpenMetrics
                        && last.samples.is_empty()
                        && last.name.ends_with(&format!("_{rest}")) => {}
                _ => return Err(wrong("out of place")),
            }
            continue;
        }
        let family = families.last_mut().ok_or_else(|| wrong("no metric"))?;
        let sample = sample(line).ok_or_else(|| wrong("no sample"))?;
        if !belongs(&sample, family, format) {
            return Err(wrong("a sample of another metric"));
        }
        let twin = |own: &Sample| own.name == sample.name && own.labels == sample.labels;
        if family.samples.iter().any(twin) {
            return Err(wrong("twice"));
        }
        family.samples.push(sample);
    }
    for family in &families {
        if family.kind.is_empty() || family.samples.is_empty() {
            return Err(format!("{} has no type or no samples", family.name));
        }
        if family.kind == "histogram" {
            buckets(family)?;
        }
    }
    Ok(families)
}

fn is_name(name: &str) -> bool {
    let mut chars = name.chars();
    chars
        .next()
        .is_some_and(|c| c.is_ascii_alphabetic() || c == '_')
        && chars.all(|c| c.is_ascii_alphanumeric() || c == '_')
}

fn is_kind(kind: &str, format: Format) -> bool {
    ["counter", "gauge", "histogram"].contains(&kind)
        || (kind == "info" && format == Format::OpenMetrics)
}

/// Reads `name{label="value",…} number`.
fn sample(line: &str) -> Option<Sample> {
    let end = line.find(['{', ' '])?;
    let (name, mut rest) = line.split_at(end);
    let mut labels = BTreeMap::new();
    if let Some(inside) = rest.strip_prefix('{') {
        rest = inside;
        loop {
            let (label, after) = rest.split_once("=\"")?;
            let (value, after) = quoted(after)?;
            if !is_name(label) || labels.insert(label.to_owned(), value).is_some() {
                return None;
            }
            rest = match after.strip_prefix(',') {
                Some(more) => more,
                None => break rest = after.strip_prefix('}')?,
            };
        }
    }
    let number = rest.strip_prefix(' ')?;
    let value: f64 = number
        .parse()
        .ok()
        .filter(|value: &f64| value.is_finite())?;
    is_name(name).then(|| Sample {
        name: name.to_owned(),
        labels,
        value,
    })
}

/// Reads to the closing quote; returns what is quoted, and the rest.
fn quoted(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Some((value, &text[at + 1..])),
            '\\' => value.push(match chars.next()?.1 {
                'n' => '\n',
                c @ ('\\' | '"') => c,
                _ => return None,
            }),
            c => value.push(c),
        }
    }
    None
}

fn belongs(sample: &Sample, family: &Family, format: Format) -> bool {
    let (name, own) = (sample.name.as_str(), family.name.as_str());
    let with = |ending: &str| name.strip_suffix(ending) == Some(own);
    match (family.kind.as_str(), format) {
        ("histogram", _) => {
            (with("_bucket") && sample.labels.contains_key("le")) || with("_sum") || with("_count")
        }
        ("counter", Format::OpenMetrics) => with("_total") && sample.value >= 0.0,
        ("counter", Format::Prometheus) => {
            name == own && own.ends_with("_total") && sample.value >= 0.0
        }
        ("info", _) => with("_info") && sample.value == 1.0,
        _ => name == own,
    }
}

/// Buckets grow, end with all, and all is the count.
fn buckets(family: &Family) -> Result<(), String> {
    let mut by_labels: BTreeMap<Vec<(String, String)>, Vec<&Sample>> = BTreeMap::new();
    for sample in &family.samples {
        let rest = sample.labels.clone().into_iter();
        let rest = rest.filter(|(label, _)| label != "le").collect();
        by_labels.entry(rest).or_default().push(sample);
    }
    for (labels, samples) in by_labels {
        let wrong = |why| format!("{} {labels:?}: {why}", family.name);
        let named = |ending| {
            let name = format!("{}{ending}", family.name);
            samples.iter().filter(move |sample| sample.name == name)
        };
        let buckets: Vec<(f64, f64)> = named("_bucket")
            .map(|bucket| {
                let bound = &bucket.labels["le"];
                let bound = bound.replace("+Inf", "inf").parse().unwrap_or(f64::NAN);
                (bound, bucket.value)
            })
            .collect();
        let grows = buckets
            .windows(2)
            .all(|pair| pair[0].0 < pair[1].0 && pair[0].1 <= pair[1].1);
        let count = named("_count").map(|count| count.value).next();
        let last = buckets.last().ok_or_else(|| wrong("no buckets"))?;
        if !grows || last.0 != f64::INFINITY || count != Some(last.1) {
            return Err(wrong("its buckets do not fit"));
        }
        if named("_sum").count() != 1 {
            return Err(wrong("no sum"));
        }
    }
    Ok(())
}

#[test]
fn what_no_scraper_takes_is_refused() {
    let good = "# HELP a_total Some.\n# TYPE a_total counter\na_total{x=\"q\\\"\\\\\\n,}\",y=\"\"} 1\na_total 2\n\
        # HELP h H.\n# TYPE h histogram\nh_bucket{le=\"0.5\"} 1\nh_bucket{le=\"+Inf\"} 2\nh_sum 1.5\nh_count 2\n";
    let families = read(good, Format::Prometheus).unwrap();
    assert_eq!(families[0].samples[0].labels["x"], "q\"\\\n,}");
    assert_eq!(families[1].samples.len(), 4);
    let open = "# HELP a_seconds A.\n# TYPE a_seconds counter\n# UNIT a_seconds seconds\na_seconds_total 1.0\n# EOF\n";
    assert_eq!(read(open, Format::OpenMetrics).unwrap().len(), 1);
    assert!(read(good, Format::OpenMetrics).is_err());
    assert!(read(open, Format::Prometheus).is_err());
    for (old, new) in [
        ("a_total 2", "a_total{x=\"q\\\"\\\\\\n,}\",y=\"\"} 2"),
        ("a_total 2", "b_total 2"),
        ("a_total 2", "a_total 2 3"),
        ("a_total 2", "a_total two"),
        ("a_total 2", "a_total{} 2"),
        ("a_total 2", "a_total{x=\"1\",x=\"2\"} 2"),
        ("a_total 2", "a_total{x=\"1} 2"),
        ("a_total 2", "a_total -2"),
        ("# HELP h H.\n", ""),
        ("# TYPE h histogram\n", ""),
        ("# HELP h H.", "# HELP a_total H."),
        ("counter", "sum"),
        ("h_count 2", "h_count 3"),
        ("+Inf", "0.25"),
        ("h_sum 1.5\n", ""),
        ("le=\"0.5\"} 1", "le=\"0.5\"} 3"),
        ("h_count 2\n", "h_count 2"),
    ] {
        let bad = good.replacen(old, new, 1);
        assert_ne!(bad, good, "{old}");
        assert!(read(&bad, Format::Prometheus).is_err(), "{bad}");
    }
}
