//! Lists: which keys a list has, in which order, and which page of them.

pub mod filter;
pub mod search;
pub mod sort;

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;

use self::filter::Filter;
use self::search::Search;
use self::sort::Sort;
use super::access::Rights;
use super::instance::Instance;
use super::key::{KEY_TYPE, Key, KeyView};
use super::modes::{Modes, Places, after};
use super::refusal::Refusal;
use super::state::{KeyClass, KeyState};

/// How many keys may be searched.
pub const SEARCHABLE: usize = 5000;

/// What a list was asked for.
#[derive(Debug, Clone)]
pub struct ListQuery {
    /// How many rows at most.
    pub limit: usize,
    /// How many rows to skip.
    pub offset: usize,
    /// The states to show.
    pub states: BTreeSet<KeyState>,
    /// Standard or root keys only.
    pub extractable: Option<bool>,
    /// A search.
    pub search: Option<Search>,
    /// The order.
    pub sort: Sort,
    /// A filter.
    pub filter: Filter,
    /// The ring that the header names.
    pub ring: Option<String>,
}

impl ListQuery {
    /// Reads the query of a list or of a count.
    pub fn parse(query: &[(String, String)], ring: Option<String>) -> Result<Self, Refusal> {
        let get = |name: &str| {
            query
                .iter()
                .find(|(key, _)| key == name)
                .map(|(_, value)| value.as_str())
        };
        let filter = get("filter")
            .map(Filter::parse)
            .transpose()?
            .unwrap_or_default();
        let state = get("state").filter(|text| !text.is_empty());
        let extractable = get("extractable").filter(|text| !text.is_empty());
        if (state.is_some() && filter.states.is_some())
            || (extractable.is_some() && filter.extractable.is_some())
        {
            return Err(Refusal::field(
                "filter",
                "A property is in the query and in the filter.",
            ));
        }
        let states = match state {
            Some(text) => parse_states(text)?,
            None => filter.states.clone().unwrap_or_else(live_states),
        };
        let extractable = match extractable.map(str::to_ascii_lowercase).as_deref() {
            None => filter.extractable,
            Some("true") => Some(true),
            Some("false") => Some(false),
            Some(_) => return Err(Refusal::field("extractable", "Either true or false.")),
        };
        Ok(Self {
            limit: number(get("limit"), "limit", 200, Some(5000))?,
            offset: number(get("offset"), "offset", 0, None)?,
            states,
            extractable,
            search: get("search")
                .filter(|text| !text.is_empty())
                .map(Search::parse),
            sort: get("sort")
                .map(Sort::parse)
                .transpose()?
                .unwrap_or_default(),
            filter,
            ring,
        })
    }

    fn admits(&self, key: &Key, modes: &Modes, now: Timestamp) -> bool {
        self.states
            .contains(&key.shown_state(Places::Lists, modes, now))
            && self
                .extractable
                .is_none_or(|yes| yes == (key.class == KeyClass::Standard))
            && self.ring.as_ref().is_none_or(|ring| *ring == key.ring)
    }
}

/// Reads a number in a query.
pub fn number(
    text: Option<&str>,
    name: &str,
    default: usize,
    max: Option<usize>,
) -> Result<usize, Refusal> {
    let Some(text) = text.filter(|text| !text.is_empty()) else {
        return Ok(default);
    };
    match text.parse::<usize>() {
        Ok(value) if max.is_none_or(|max| value <= max) => Ok(value),
        _ => Err(Refusal::field(
            name,
            format!("{text} is not a fit value for {name}."),
        )),
    }
}

/// Reads `0,1,2,3,5`.
pub fn parse_states(text: &str) -> Result<BTreeSet<KeyState>, Refusal> {
    let wrong = || Refusal::field("state", "A list of states is numbers and commas only.");
    text.split(',')
        .map(|part| {
            let number: u8 = part.parse().map_err(|_| wrong())?;
            // 4 is within the documented range, and no key is ever in it.
            if number == 4 {
                Ok(None)
            } else {
                KeyState::try_from(number).map(Some).map_err(|_| wrong())
            }
        })
        .filter_map(Result::transpose)
        .collect()
}

fn live_states() -> BTreeSet<KeyState> {
    use KeyState::{Active, Deactivated, PreActivation, Suspended};
    BTreeSet::from([PreActivation, Active, Suspended, Deactivated])
}

/// Counts the keys that a list would have, over all of its pages.
pub fn total(
    instance: &Instance,
    rights: &Rights,
    query: &ListQuery,
    modes: &Modes,
    now: Timestamp,
) -> usize {
    instance
        .keys
        .values()
        .filter(|key| rights.lists_key(&key.id, &key.ring, modes.list_shows_single_grants))
        .filter(|key| query.admits(key, modes, now) && query.filter.admits(key))
        .count()
}

/// A page of a list, its rows written.
#[derive(Debug)]
pub struct Page {
    metadata: PageMetadata,
    rows: Vec<Arc<str>>,
}

impl Page {
    /// Writes the page. An empty one has no `resources` member at all.
    pub fn json(&self) -> Vec<u8> {
        let size: usize = self.rows.iter().map(|row| row.len() + 1).sum();
        let mut text = Vec::with_capacity(size + 512);
        text.extend_from_slice(b"{\"metadata\":");
        text.extend_from_slice(written(&self.metadata).as_bytes());
        for (number, row) in self.rows.iter().enumerate() {
            text.extend_from_slice(if number == 0 {
                b",\"resources\":["
            } else {
                b","
            });
            text.extend_from_slice(row.as_bytes());
        }
        text.extend_from_slice(if self.rows.is_empty() { b"}" } else { b"]}" });
        text
    }
}

/// Writes what is always JSON.
fn written(value: &impl Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default()
}

#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct PageMetadata {
    collection_type: &'static str,
    collection_total: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    search_query: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    incomplete_search: Option<bool>,
}

/// Makes a page of a list.
pub fn page(
    instance: &mut Instance,
    rights: &Rights,
    query: &ListQuery,
    modes: &Modes,
    now: Timestamp,
) -> Result<Page, Refusal> {
    instance.lists += 1;
    let mut rows = std::mem::take(&mut instance.rows);
    let page = page_of(instance, rights, query, modes, now, &mut rows);
    instance.rows = rows;
    page
}

fn page_of(
    instance: &Instance,
    rights: &Rights,
    query: &ListQuery,
    modes: &Modes,
    now: Timestamp,
    written: &mut HashMap<String, Arc<str>>,
) -> Result<Page, Refusal> {
    let mut metadata = PageMetadata {
        collection_type: KEY_TYPE,
        ..PageMetadata::default()
    };
    let mut visible: Vec<&Key> = instance
        .keys
        .values()
        .filter(|key| rights.lists_key(&key.id, &key.ring, modes.list_shows_single_grants))
        .filter(|key| query.admits(key, modes, now) && query.filter.admits(key))
        .filter(|key| !modes.list_omit_keys.contains(&key.id))
        .filter(|key| {
            let hidden = modes.new_key_hidden_seconds;
            hidden <= 0 || now >= after(key.creation_date, hidden)
        })
        .collect();
    query.sort.apply(&mut visible, modes, now);
    if let Some(search) = &query.search {
        metadata.search_query = Some(search.echo());
        let first = search.looked_up(&visible, instance);
        let broad = visible.len() > SEARCHABLE;
        metadata.incomplete_search = Some(broad);
        if broad {
            visible = vec![first.ok_or_else(search::too_broad)?];
        } else {
            visible.retain(|key| search.matches(key));
            if let Some(found) = first {
                visible.retain(|key| key.id != found.id);
                visible.insert(0, found);
            }
        }
    }
    if modes.list_half || (modes.list_disagrees && instance.lists.is_multiple_of(2)) {
        visible.truncate(visible.len() / 2);
    }
    if modes.list_empty {
        visible.clear();
    }
    let rows: Vec<Arc<str>> = visible
        .into_iter()
        .skip(query.offset)
        .take(query.limit)
        .map(|key| {
            // What time or a mode has a say in is written each time.
            let lasting = key.deletion.is_none()
                && key.authorization.is_none()
                && !modes.list_omits_aliases
                && !modes.list_omits_rings;
            if !lasting {
                return Arc::from(self::written(&row(key, &instance.crn, modes, now)));
            }
            let known = written.get(&key.id).cloned();
            known.unwrap_or_else(|| {
                let text: Arc<str> = Arc::from(self::written(&row(key, &instance.crn, modes, now)));
                written.insert(key.id.clone(), Arc::clone(&text));
                text
            })
        })
        .collect();
    metadata.collection_total = rows.len();
    Ok(Page { metadata, rows })
}

fn row<'k>(key: &'k Key, crn: &str, modes: &Modes, now: Timestamp) -> KeyView<'k> {
    let mut row = key.metadata(crn, modes, now);
    row.state = key.shown_state(Places::Lists, modes, now).number();
    if modes.list_omits_aliases {
        row.aliases = None;
    }
    if modes.list_omits_rings {
        row.key_ring_id = None;
    }
    row
}

/// The list that a caller gets who may not list.
pub fn nothing() -> Page {
    Page {
        metadata: PageMetadata {
            collection_type: KEY_TYPE,
            ..PageMetadata::default()
        },
        rows: Vec::new(),
    }
}
