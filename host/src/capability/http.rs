//! `http`: requests to servers outside.

use super::outbound::with_key;
use super::{charge, services};
use crate::limits::HTTP_REDIRECTS_MAX;
use crate::plugin::contract::http;
use crate::plugin::contract::types::{Fault, HttpRequest, HttpResponse};
use crate::plugin::{Guest, request, to_response};

impl http::Host for Guest {
    async fn send(&mut self, given: HttpRequest) -> Result<HttpResponse, Fault> {
        self.call.used.host_calls += 1;
        let services = services(&self.call)?;
        let max = self.limits().http_calls;
        charge(&mut self.call.used.http_calls, max, "http")?;
        let name = given.name.clone().unwrap_or_else(|| self.call.used.http_calls.to_string());
        let request = with_key(request(given)?, &self.call.idempotency_key, &name);
        let sender = self.call.sender(HTTP_REDIRECTS_MAX);
        self.call.used.bytes_out += request.bytes();
        let response = services.send(sender, request).await?;
        self.call.used.bytes_in += response.bytes();
        Ok(to_response(response))
    }
}
