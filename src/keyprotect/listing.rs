//! The whole listing, page by page. Pages are cut from live data by offset: a key that appears
//! or vanishes between two of them shifts the rest. So each page begins with the last row of
//! the one before; where it does not, or the announced totals disagree, all is read again.

use std::collections::HashSet;
use std::sync::atomic::Ordering;
use std::time::Duration;

use sha2::{Digest, Sha256};
use tokio::time::Instant;
use zeroize::Zeroizing;

use super::ask::unreadable;
use super::client::Client;
use super::options::ClientOptions;
use super::wire::{self, KeyPage};
use crate::domain::service::failure::{FailureKind, FetchFailure, Operation};
use crate::domain::service::ids::KeyId;
use crate::domain::service::metadata::KeyMetadata;

/// How often a listing is begun anew. After that it is used as it is: whoever uses it takes a
/// missing row for a question, never for an answer.
const READINGS: usize = 3;
/// Pages are not asked for in smaller pieces than this.
const SMALLEST_PAGE: usize = 100;
/// The service's largest page.
const LARGEST_PAGE: usize = 5_000;
/// More keys than any instance has: a listing that goes on after them is none.
const MOST_KEYS: usize = 1_000_000;
/// Pages that are held as text until one is seen to differ: larger listings are always read.
const MOST_UNREAD: usize = 2;
/// How long a listing goes on without a page.
const PATIENCE: Duration = Duration::from_secs(45);

/// How many rows a page is asked for with at first. Two at least: one is the overlap.
pub(super) fn largest_page(options: &ClientOptions) -> usize {
    options.page_size.clamp(2, LARGEST_PAGE)
}

/// What was asked for: every key, or how many there are at least.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Listed {
    /// Every key, and by what the same listing is recognised, where its pages fit together.
    All(Vec<KeyMetadata>, Option<Mark>),
    /// What it was the last time, to the letter.
    Unchanged,
    /// There are more than were asked for: at least so many.
    More(usize),
}

/// By what a listing is recognised when it comes again: a digest of each page. Nearly every listing
/// is the one of before, and reading it costs more than all that follows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mark {
    pages: Vec<PageMark>,
    /// Rows of all pages.
    count: usize,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct PageMark {
    offset: usize,
    limit: usize,
    digest: [u8; 32],
}

/// A page as it came.
pub(super) struct RawPage {
    pub(super) body: Zeroizing<Vec<u8>>,
    pub(super) correlation_id: String,
}

impl RawPage {
    /// Reads its rows. The text, megabytes of it, is not held beyond that.
    fn read(self) -> Result<KeyPage, FetchFailure> {
        wire::key_page(&self.body)
            .map_err(|error| unreadable(Operation::ListKeys, error, self.correlation_id))
    }

    fn mark(&self, offset: usize, limit: usize) -> PageMark {
        PageMark {
            offset,
            limit,
            digest: Sha256::digest(&*self.body).into(),
        }
    }
}

/// One reading of the list.
enum Reading {
    Whole(Vec<KeyMetadata>, Mark),
    Shifted(Vec<KeyMetadata>),
    Unchanged,
    More(usize),
}

pub(super) async fn all_keys(
    client: &Client,
    extractable: Option<bool>,
    most: usize,
    known: Option<&Mark>,
) -> Result<Listed, FetchFailure> {
    let known = known.filter(|known| known.count <= most && known.pages.len() <= MOST_UNREAD);
    let mut last: Option<Vec<KeyMetadata>> = None;
    for _ in 0..READINGS {
        let limit = client.page_size.load(Ordering::Relaxed);
        match read_all(client, extractable, most, known).await? {
            Reading::Whole(rows, mark) => {
                grow(client, limit);
                return Ok(Listed::All(rows, Some(mark)));
            }
            Reading::Unchanged => {
                grow(client, limit);
                return Ok(Listed::Unchanged);
            }
            Reading::More(count) => return Ok(Listed::More(count)),
            // Twice the same is no shift: then it is the announced total that cannot be relied on.
            Reading::Shifted(rows) if last.as_ref() == Some(&rows) => {
                return Ok(Listed::All(rows, None));
            }
            Reading::Shifted(rows) => last = Some(rows),
        }
    }
    let rows = last.unwrap_or_default();
    tracing::warn!(
        rows = rows.len(),
        "the pages of the key listing do not fit together; rows may be missing from it"
    );
    Ok(Listed::All(rows, None))
}

async fn read_all(
    client: &Client,
    extractable: Option<bool>,
    most: usize,
    known: Option<&Mark>,
) -> Result<Reading, FetchFailure> {
    let mut list = Assembly::default();
    let mut marks = Vec::new();
    // Pages that are as they are known to be: read only if a later one is not.
    let mut unread = Vec::new();
    let mut known = known.map_or(&[][..], |known| &known.pages);
    while list.count < MOST_KEYS {
        let offset = known.first().map_or(list.offset(), |next| next.offset);
        let (page, limit) = page(client, extractable, offset).await?;
        let mark = page.mark(offset, limit);
        let is_known = known.first() == Some(&mark);
        marks.push(mark);
        unread.push((page, limit));
        if is_known {
            known = &known[1..];
            if known.is_empty() {
                return Ok(Reading::Unchanged);
            }
            continue;
        }
        known = &[];
        for (page, limit) in unread.drain(..) {
            match list.add(page.read()?, limit) {
                Progress::More if list.count > most => return Ok(Reading::More(list.count)),
                Progress::More => {}
                Progress::End => {
                    let count = list.count;
                    return Ok(Reading::Whole(
                        list.rows,
                        Mark {
                            pages: marks,
                            count,
                        },
                    ));
                }
                Progress::Shifted => return Ok(Reading::Shifted(list.rows)),
            }
        }
    }
    Err(FetchFailure::new(
        Operation::ListKeys,
        FailureKind::ServiceError,
        "the listing does not end",
    ))
}

/// Reads a page, in halves of halves where the service is too slow for a large one.
async fn page(
    client: &Client,
    extractable: Option<bool>,
    offset: usize,
) -> Result<(RawPage, usize), FetchFailure> {
    let deadline = client.options.page_deadline;
    let start = Instant::now();
    loop {
        let limit = client.page_size.load(Ordering::Relaxed);
        let failure = match client.page(extractable, offset, limit).await {
            Ok(page) => return Ok((page, limit)),
            Err((failure, false)) => return Err(failure),
            Err((failure, true)) => failure,
        };
        if limit <= SMALLEST_PAGE || start.elapsed() + deadline > PATIENCE {
            // Next time begins with what a healthy service can do.
            client
                .page_size
                .store(largest_page(&client.options), Ordering::Relaxed);
            return Err(failure);
        }
        client
            .page_size
            .store((limit / 2).max(SMALLEST_PAGE), Ordering::Relaxed);
    }
}

/// Asks for larger pages again after a listing in which none was too slow: an hour of a slow service
/// must not cost fifty times the requests for ever. A size that changed meanwhile tells of one that
/// was.
fn grow(client: &Client, from: usize) {
    let larger = from.saturating_mul(2).min(largest_page(&client.options));
    let size = &client.page_size;
    let _ = size.compare_exchange(from, larger, Ordering::Relaxed, Ordering::Relaxed);
}

/// What a page did to the list.
#[derive(Debug, PartialEq, Eq)]
enum Progress {
    More,
    End,
    Shifted,
}

/// The list so far. Pure: it decides whether pages fit together.
#[derive(Default)]
struct Assembly {
    rows: Vec<KeyMetadata>,
    seen: HashSet<KeyId>,
    /// Rows read, those without an ID included, counted without the overlap.
    count: usize,
    last: Option<KeyId>,
    is_begun: bool,
}

impl Assembly {
    /// Where the next page begins: one row early, once there is one.
    fn offset(&self) -> usize {
        self.count.saturating_sub(1)
    }

    fn add(&mut self, page: KeyPage, limit: usize) -> Progress {
        let overlap = usize::from(self.is_begun);
        let is_continued =
            !self.is_begun || page.rows.first().map(|row| &row.id) == self.last.as_ref();
        self.is_begun |= page.count > 0;
        self.count += page.count.saturating_sub(overlap);
        // Some envelopes count the page, others the list. A total that is neither says that the
        // list changed under the reader, or that rows were lost.
        let is_end = page.count < limit;
        let is_announced = |announced| {
            announced == page.count
                || announced == self.count
                || (!is_end && announced > self.count)
        };
        let fits = is_continued && page.announced.is_none_or(is_announced);
        // In place, and the first page as it is: a page of thousands is not in memory twice.
        let mut rows = page.rows;
        rows.drain(..rows.len().min(overlap * usize::from(is_continued)));
        let new = rows.len();
        self.last = rows.last().map(|row| row.id.clone()).or(self.last.take());
        rows.retain(|row| self.seen.insert(row.id.clone()));
        let is_repeated = rows.len() < new;
        if self.rows.is_empty() {
            self.rows = rows;
        } else {
            self.rows.append(&mut rows);
        }
        match (fits && !is_repeated, is_end) {
            (false, _) => Progress::Shifted,
            (true, true) => Progress::End,
            (true, false) => Progress::More,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(n: usize) -> KeyMetadata {
        let id = format!("00000000-0000-4000-8000-{n:012}");
        KeyMetadata::unknown(KeyId::parse(&id).unwrap())
    }

    fn page(rows: impl IntoIterator<Item = usize>, announced: Option<usize>) -> KeyPage {
        let rows: Vec<_> = rows.into_iter().map(row).collect();
        KeyPage {
            count: rows.len(),
            rows,
            announced,
        }
    }

    #[test]
    fn pages_overlap_by_a_row_and_end_with_a_short_one() {
        for totals in [[None; 3], [Some(3), Some(3), Some(2)], [Some(6); 3]] {
            let mut list = Assembly::default();
            assert_eq!(list.offset(), 0);
            assert_eq!(list.add(page(0..3, totals[0]), 3), Progress::More);
            assert_eq!(list.offset(), 2);
            assert_eq!(list.add(page(2..5, totals[1]), 3), Progress::More);
            assert_eq!(list.offset(), 4);
            assert_eq!(list.add(page(4..6, totals[2]), 3), Progress::End);
            assert_eq!(list.rows, (0..6).map(row).collect::<Vec<_>>());
        }
    }

    #[test]
    fn an_empty_list_is_whole() {
        for total in [None, Some(0)] {
            let mut list = Assembly::default();
            assert_eq!(list.add(page([], total), 3), Progress::End);
            assert!(list.rows.is_empty());
        }
    }

    #[test]
    fn a_list_that_ends_with_a_full_page_is_whole() {
        let mut list = Assembly::default();
        assert_eq!(list.add(page(0..3, None), 3), Progress::More);
        assert_eq!(list.add(page(2..3, None), 3), Progress::End);
        assert_eq!(list.rows.len(), 3);
    }

    #[test]
    fn a_shift_between_pages_is_seen() {
        // A key deleted from the first page: the second begins one row late.
        let mut list = Assembly::default();
        assert_eq!(list.add(page(0..3, None), 3), Progress::More);
        assert_eq!(list.add(page(3..6, None), 3), Progress::Shifted);
        // A key created in the first page: it begins one row early.
        let mut list = Assembly::default();
        assert_eq!(list.add(page(0..3, None), 3), Progress::More);
        assert_eq!(list.add(page(1..4, None), 3), Progress::Shifted);
        // Everything gone.
        let mut list = Assembly::default();
        assert_eq!(list.add(page(0..3, None), 3), Progress::More);
        assert_eq!(list.add(page([], None), 3), Progress::Shifted);
    }

    #[test]
    fn a_total_that_disagrees_is_seen() {
        for (rows, total) in [(2, 3), (2, 1), (2, 0), (0, 7)] {
            let mut list = Assembly::default();
            let progress = list.add(page(0..rows, Some(total)), 3);
            assert_eq!(
                progress,
                Progress::Shifted,
                "{rows} rows, {total} announced"
            );
        }
    }
}
