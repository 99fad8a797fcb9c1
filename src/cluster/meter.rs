//! Counts every request to the API server, whoever makes it: a layer of the client itself, so
//! that no call can be forgotten.

use std::task::{Context, Poll};

use futures::FutureExt;
use futures::future::BoxFuture;
use http::{Request, Response};
use tower::{Layer, Service};

use crate::metrics::ApiRequests;

/// The layer.
#[derive(Clone, Debug)]
pub struct Meter(pub ApiRequests);

impl<S> Layer<S> for Meter {
    type Service = Metered<S>;

    fn layer(&self, inner: S) -> Metered<S> {
        Metered {
            inner,
            requests: self.0.clone(),
        }
    }
}

/// A client whose requests are counted.
#[derive(Clone, Debug)]
pub struct Metered<S> {
    inner: S,
    requests: ApiRequests,
}

impl<S, Q, A> Service<Request<Q>> for Metered<S>
where
    S: Service<Request<Q>, Response = Response<A>>,
    S::Future: Send + 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = BoxFuture<'static, Result<S::Response, S::Error>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Q>) -> Self::Future {
        let uri = request.uri();
        let query = uri.query().unwrap_or_default();
        let counted = self.requests.begin(request.method(), uri.path(), query);
        let answer = self.inner.call(request);
        async move {
            // Where this is dropped before the answer is there, that is counted too.
            let answer = answer.await?;
            counted.answered(answer.status().as_u16());
            Ok(answer)
        }
        .boxed()
    }
}
