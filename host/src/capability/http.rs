//! `http`: requests to servers outside.

use super::outbound::with_key;
use super::{charge, services};
use crate::limits::HTTP_CALLS_MAX;
use crate::plugin::contract::http;
use crate::plugin::contract::types::{Fault, HttpRequest, HttpResponse};
use crate::plugin::{Guest, request, to_response};

impl http::Host for Guest {
    async fn send(&mut self, given: HttpRequest) -> Result<HttpResponse, Fault> {
        let services = services(self)?;
        charge(&mut self.call.requests.http, HTTP_CALLS_MAX, "http")?;
        let name = given.name.clone().unwrap_or_else(|| self.call.requests.http.to_string());
        let request = with_key(request(given)?, &self.call.idempotency_key, &name, &self.call.secrets)?;
        Ok(to_response(services.send(request).await?))
    }
}
