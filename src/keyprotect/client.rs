//! Calls to the key API of one instance. Every outcome but success is a [`FetchFailure`].

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use http::header::{ACCEPT, ACCEPT_ENCODING, AUTHORIZATION, HeaderMap};
use secrecy::SecretString;

use super::ask::{Ask, LARGEST_ANSWER, other_key, tenant_headers, unreadable};
use super::attempts::Attempts;
use super::credential::CredentialSource;
use super::exchange::Exchange;
use super::http::{Answer, CORRELATION_ID, Transport};
use super::iam::TokenSource;
use super::listing::{self, Listed, Mark, RawPage};
use super::options::{ClientError, ClientOptions};
use super::token::Token;
use super::verdict;
use super::wire;
use crate::domain::service::endpoint::Endpoint;
use crate::domain::service::failure::{FailureKind, FetchFailure, Operation};
use crate::domain::service::hosts::Origin;
use crate::domain::service::ids::{KeyId, KeyRing};
use crate::domain::service::material::Payload;
use crate::domain::service::metadata::KeyMetadata;
use crate::domain::service::reference::KeyName;
use crate::metrics::Upstream;

/// Largest page of a listing read: 5,000 rows of up to about 10 KB.
const LARGEST_PAGE: usize = 64 * 1024 * 1024;
const LIST_TYPE: &str = "application/vnd.ibm.collection+json";
const KEY_TYPE: &str = "application/vnd.ibm.kms.key+json";
const RING_TYPE: &str = "application/vnd.ibm.kms.key_ring+json";

/// A client of one instance.
#[derive(Debug)]
pub struct Client {
    transport: Transport,
    tokens: TokenSource,
    base: Origin,
    iam: Origin,
    tenant: HeaderMap,
    pub(super) options: ClientOptions,
    /// Rows a page that were fast enough last time.
    pub(super) page_size: AtomicUsize,
}

impl Client {
    /// Makes a client that gets its tokens from IAM for a credential.
    ///
    /// # Errors
    /// The CA bundle or the TLS set-up cannot be used.
    pub fn new(
        endpoint: &Endpoint,
        credential: CredentialSource,
        options: &ClientOptions,
    ) -> Result<Self, ClientError> {
        let transport = Transport::new(endpoint, options)?;
        let exchange = Exchange::new(transport.clone(), endpoint.iam_url.clone(), options);
        let tokens = TokenSource::exchanged(exchange, credential);
        Ok(Self::assemble(endpoint, transport, tokens, options))
    }

    /// Makes a client that uses a person's token.
    ///
    /// # Errors
    /// As [`Client::new`], and where the text holds no token.
    pub fn with_token(
        endpoint: &Endpoint,
        text: &SecretString,
        options: &ClientOptions,
    ) -> Result<Self, ClientError> {
        let transport = Transport::new(endpoint, options)?;
        let tokens = TokenSource::fixed(text).ok_or(ClientError::Token)?;
        Ok(Self::assemble(endpoint, transport, tokens, options))
    }

    fn assemble(
        endpoint: &Endpoint,
        transport: Transport,
        tokens: TokenSource,
        options: &ClientOptions,
    ) -> Self {
        Self {
            transport,
            tokens,
            base: endpoint.key_base.clone(),
            iam: endpoint.iam_url.origin.clone(),
            tenant: tenant_headers(&endpoint.tenant),
            options: options.clone(),
            page_size: AtomicUsize::new(listing::largest_page(options)),
        }
    }

    /// Where this client's tokens come from.
    #[must_use]
    pub const fn token_source(&self) -> &TokenSource {
        &self.tokens
    }

    /// What counts this client's requests.
    #[must_use]
    pub const fn metrics(&self) -> &Upstream {
        &self.options.metrics
    }

    /// Tries whether the key API's host can be connected to: TCP, TLS, and any HTTP answer.
    ///
    /// # Errors
    /// Says what stood in the way.
    pub async fn reach_key_host(&self) -> Result<(), String> {
        self.reach(&self.base).await
    }

    /// Tries whether IAM's host can be connected to.
    ///
    /// # Errors
    /// Says what stood in the way.
    pub async fn reach_iam_host(&self) -> Result<(), String> {
        self.reach(&self.iam).await
    }

    /// No operation of the API is asked for, and no token sent: this leaves no trace in the
    /// customer's audit log.
    async fn reach(&self, origin: &Origin) -> Result<(), String> {
        let request = self.transport.client().head(format!("{origin}/"));
        self.transport
            .send(request, self.options.request_deadline, LARGEST_ANSWER)
            .await
            .map(|_| ())
            .map_err(|no_answer| no_answer.detail)
    }

    /// Lists every standard key that the caller may see. Keys that are granted singly are never
    /// among them, and without the right to list there are none: absence is no evidence.
    ///
    /// # Errors
    /// Says why there is no list.
    pub async fn list_keys(&self) -> Result<Vec<KeyMetadata>, FetchFailure> {
        self.list_keys_where(Some(true)).await
    }

    /// Lists every key, or only those whose payload can (`true`) or cannot be read.
    ///
    /// # Errors
    /// Says why there is no list.
    pub async fn list_keys_where(
        &self,
        extractable: Option<bool>,
    ) -> Result<Vec<KeyMetadata>, FetchFailure> {
        match listing::all_keys(self, extractable, usize::MAX, None).await? {
            Listed::All(rows, _) => Ok(rows),
            Listed::Unchanged | Listed::More(_) => Ok(Vec::new()),
        }
    }

    /// Lists every standard key that the caller may see, or finds that they are more than `most`,
    /// or that the listing is the one that `known` marks.
    ///
    /// # Errors
    /// Says why there is no list.
    pub async fn list_keys_up_to(
        &self,
        most: usize,
        known: Option<&Mark>,
    ) -> Result<Listed, FetchFailure> {
        listing::all_keys(self, Some(true), most, known).await
    }

    /// Reads one page of the listing, and tells where it failed whether it was too slow.
    pub(super) async fn page(
        &self,
        extractable: Option<bool>,
        offset: usize,
        limit: usize,
    ) -> Result<RawPage, (FetchFailure, bool)> {
        let filter = match extractable {
            Some(true) => "&extractable=true",
            Some(false) => "&extractable=false",
            None => "",
        };
        let path = format!("keys?limit={limit}&offset={offset}{filter}");
        let mut ask = Ask::new(Operation::ListKeys, path, LIST_TYPE);
        ask.largest = LARGEST_PAGE;
        ask.is_divisible = true;
        let (answer, id) = self
            .call(&ask)
            .await
            .map_err(|failure| (failure, ask.was_slow.load(Ordering::Relaxed)))?;
        Ok(RawPage {
            body: answer.body,
            correlation_id: id,
        })
    }

    /// Reads a key's metadata, by ID or alias.
    ///
    /// # Errors
    /// Says why it could not be read; a key named by name is an invalid request.
    pub async fn key_metadata(
        &self,
        key: &KeyName,
        ring: Option<&KeyRing>,
    ) -> Result<KeyMetadata, FetchFailure> {
        let operation = Operation::GetKeyMetadata;
        let (path, id) = match key {
            KeyName::Id(id) => (format!("keys/{id}/metadata"), Some(id)),
            KeyName::Alias(alias) => (format!("keys/{alias}/metadata"), None),
            KeyName::Name(_) => {
                let detail = "a key is read by ID or alias; its name is looked up in the listing";
                return Err(FetchFailure::new(operation, FailureKind::Invalid, detail));
            }
        };
        let ask = Ask::new(operation, path, KEY_TYPE).in_ring(ring);
        let (answer, correlation) = self.call(&ask).await?;
        let metadata = wire::key_metadata(&answer.body)
            .map_err(|error| unreadable(ask.operation, error, correlation.clone()))?;
        match id {
            Some(id) if metadata.id != *id => Err(other_key(operation, correlation)),
            _ => Ok(metadata),
        }
    }

    /// Reads a key with its payload, by ID only: who may have it was decided by ID.
    ///
    /// # Errors
    /// Says why it could not be read.
    pub async fn key(&self, id: &KeyId, ring: Option<&KeyRing>) -> Result<Payload, FetchFailure> {
        self.read_key(id, ring, &Attempts::default()).await
    }

    /// The same, and writes every request down that it takes.
    ///
    /// # Errors
    /// Says why it could not be read.
    pub async fn read_key(
        &self,
        id: &KeyId,
        ring: Option<&KeyRing>,
        attempts: &Attempts,
    ) -> Result<Payload, FetchFailure> {
        let operation = Operation::GetKey;
        let mut ask = Ask::new(operation, format!("keys/{id}"), KEY_TYPE).in_ring(ring);
        ask.attempts = Some(attempts);
        let (answer, correlation_id) = self.call(&ask).await?;
        let read = wire::key(&answer.body)
            .map_err(|error| unreadable(ask.operation, error, correlation_id.clone()))
            .and_then(|(metadata, material)| {
                if metadata.id == *id {
                    Ok((metadata, material))
                } else {
                    Err(other_key(operation, correlation_id.clone()))
                }
            });
        let (metadata, material) = read.inspect_err(|failure| attempts.spoil(failure))?;
        Ok(Payload {
            metadata,
            material,
            correlation_id,
        })
    }

    /// Lists the IDs of the key rings.
    ///
    /// # Errors
    /// Says why there is no list.
    pub async fn key_rings(&self) -> Result<Vec<String>, FetchFailure> {
        let ask = Ask::new(Operation::ListKeyRings, "key_rings".to_owned(), RING_TYPE);
        let (answer, id) = self.call(&ask).await?;
        wire::key_rings(&answer.body).map_err(|error| unreadable(ask.operation, error, id))
    }

    /// Makes a call within its deadline. Should that pass, the last failure within it says more
    /// than that it passed.
    async fn call(&self, ask: &Ask<'_>) -> Result<(Answer, String), FetchFailure> {
        let last = Mutex::new(None);
        let deadline = self.options.call_deadline;
        tokio::time::timeout(deadline, self.authorized(ask, &last))
            .await
            .unwrap_or_else(|_| {
                let last = last.into_inner().unwrap_or_else(PoisonError::into_inner);
                Err(last.unwrap_or_else(|| {
                    let seconds = deadline.as_secs();
                    let host = self.base.host();
                    let detail = format!("{host} did not answer within {seconds} s");
                    FetchFailure::new(ask.operation, FailureKind::Unreachable, detail)
                }))
            })
    }

    /// Makes a call with a token, and once more with a new one if the first was refused: 401 is
    /// also what a missing role gets, so there is no third try. Where a new token is needed and
    /// IAM gives none, that is the failure: the 401 says nothing about rights then.
    async fn authorized(
        &self,
        ask: &Ask<'_>,
        last: &Mutex<Option<FetchFailure>>,
    ) -> Result<(Answer, String), FetchFailure> {
        let token = self.waiting_for_iam(last, self.tokens.token()).await?;
        let refused = match self.tries(ask, &token, last).await {
            Err(failure) if verdict::may_be_the_token(&failure) => failure,
            result => return result,
        };
        match self
            .waiting_for_iam(last, self.tokens.replace(&token))
            .await?
        {
            Some(new) => self.tries(ask, &new, last).await,
            None => Err(refused),
        }
    }

    /// Waits for IAM. Should the call's deadline pass meanwhile, it was IAM that did not answer.
    async fn waiting_for_iam<T>(
        &self,
        last: &Mutex<Option<FetchFailure>>,
        answer: impl Future<Output = T>,
    ) -> T {
        let put = |failure| *last.lock().unwrap_or_else(PoisonError::into_inner) = failure;
        let detail = format!("{} did not answer in time", self.iam.host());
        put(Some(FetchFailure::new(
            Operation::Token,
            FailureKind::Unreachable,
            detail,
        )));
        let answer = answer.await;
        put(None);
        answer
    }

    async fn tries(
        &self,
        ask: &Ask<'_>,
        token: &Token,
        last: &Mutex<Option<FetchFailure>>,
    ) -> Result<(Answer, String), FetchFailure> {
        let mut retry = self.options.retry();
        if self.options.paced && ask.is_of_one_key() {
            retry.retries = 0;
        }
        retry
            .run(
                || async {
                    let result = self.once(ask, token).await;
                    if let Err(failure) = &result {
                        let mut last = last.lock().unwrap_or_else(PoisonError::into_inner);
                        *last = Some(failure.clone());
                    }
                    result
                },
                || ask.is_divisible && ask.was_slow.load(Ordering::Relaxed),
                |_| self.options.metrics.retried(ask.operation),
            )
            .await
    }

    /// Sends a request once, and notes that where it is to be noted.
    async fn once(&self, ask: &Ask<'_>, token: &Token) -> Result<(Answer, String), FetchFailure> {
        // A fresh one for each try, so that each is found by itself in IBM's logs.
        let correlation_id = uuid::Uuid::new_v4().to_string();
        let Some(attempts) = ask.attempts else {
            return self.send(ask, token, correlation_id).await;
        };
        let number = attempts.begin(&correlation_id);
        let result = self.send(ask, token, correlation_id).await;
        let id = match &result {
            Ok((_, id)) => Some(id.as_str()),
            Err(failure) => failure.request_id.as_deref(),
        };
        let end = result.as_ref().map(|_| ()).map_err(Clone::clone);
        attempts.end(number, id, end);
        result
    }

    async fn send(
        &self,
        ask: &Ask<'_>,
        token: &Token,
        correlation_id: String,
    ) -> Result<(Answer, String), FetchFailure> {
        let operation = ask.operation;
        let invalid = || {
            let detail = "the request could not be built";
            FetchFailure::new(operation, FailureKind::Invalid, detail)
        };
        let mut request = self
            .transport
            .client()
            .get(format!("{}/api/v2/{}", self.base, ask.path))
            .headers(self.tenant.clone())
            .header(ACCEPT, ask.accept)
            .header(CORRELATION_ID, &correlation_id)
            .header(AUTHORIZATION, token.authorization().ok_or_else(invalid)?);
        if let Some(ring) = ask.ring {
            request = request.header("x-kms-key-ring", ring.as_str());
        }
        if operation == Operation::GetKey {
            // A payload is not to pass through a decompressor's buffers, nor its length through
            // a compressor.
            request = request.header(ACCEPT_ENCODING, "identity");
        }
        let deadline = if ask.is_divisible {
            self.options.page_deadline
        } else {
            self.options.request_deadline
        };
        let counted = self.options.metrics.begin(operation);
        let answer = self
            .transport
            .send(request, deadline, ask.largest)
            .await
            .map_err(|no_answer| {
                ask.was_slow
                    .fetch_or(no_answer.timed_out, Ordering::Relaxed);
                FetchFailure {
                    request_id: Some(correlation_id.clone()),
                    ..FetchFailure::new(operation, no_answer.kind, no_answer.detail)
                }
            })?;
        counted.answered(answer.status);
        if answer.is_throttled() {
            self.options.metrics.throttled(operation);
        }
        // IBM's support finds a request by what the service says its ID is.
        let correlation_id = answer.correlation_id.clone().unwrap_or(correlation_id);
        if answer.status == 200 {
            Ok((answer, correlation_id))
        } else {
            Err(verdict::of(operation, &answer, correlation_id))
        }
    }
}
