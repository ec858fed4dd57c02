//! Plugins in OCI registries, in the layout that `wkg` makes and reads: an image manifest with one layer, the component, and a config
//! that names its imports and exports.

mod guard;

use std::path::PathBuf;

use base64::Engine as _;
use futures_util::StreamExt as _;
use oci_client::client::{ClientConfig, ClientProtocol, Config, ImageLayer};
use oci_client::errors::{OciDistributionError, OciErrorCode};
use oci_client::manifest::{OciDescriptor, OciImageManifest};
use oci_client::secrets::RegistryAuth;
use oci_client::{Client, Reference};
use oci_wasm::{WASM_LAYER_MEDIA_TYPE, WASM_MANIFEST_CONFIG_MEDIA_TYPE, WASM_MANIFEST_MEDIA_TYPE, WasmConfig};
use serde_json::Value;

use super::super::Failure;
use super::super::client::causes;
use super::source::Access;
use crate::digest::Digest;
use crate::limits::{PLUGIN_BYTES_MAX, REGISTRY_SECONDS_MAX, REGISTRY_SILENCE_MAX};
use guard::{Guard, Refusal, Rules};

const SCHEME: &str = "oci://";

/// Whether a source is a registry's.
pub(super) fn is_reference(source: &str) -> bool {
    source.starts_with(SCHEME)
}

/// The bytes of the plugin at `oci://HOST/REPO:TAG`, `oci://HOST/REPO@sha256:…` or both, where the digest is what counts. Never
/// more than a plugin may have, and never others than the manifest names.
pub(super) async fn pull(source: &str, access: &Access) -> Result<Vec<u8>, Failure> {
    let way = Way::to(source, access).await?;
    way.within_time(pull_by(&way, source)).await
}

async fn pull_by(way: &Way, source: &str) -> Result<Vec<u8>, Failure> {
    let Way { image, client, auth, .. } = way;
    let (manifest, digest) = client.pull_image_manifest(image, auth).await.map_err(|error| failed(source, &error))?;
    let refused = |why: String| Failure::Refused(format!("{source}: {why}"));
    let layer = match &manifest.layers[..] {
        [layer] if layer.media_type == WASM_LAYER_MEDIA_TYPE => layer,
        _ => return Err(refused(format!("this is no plugin: it is not one layer of type {WASM_LAYER_MEDIA_TYPE}"))),
    };
    if manifest.config.media_type != WASM_MANIFEST_CONFIG_MEDIA_TYPE {
        return Err(refused(format!("this is no plugin: its config is not of type {WASM_MANIFEST_CONFIG_MEDIA_TYPE}")));
    }
    let too_large = || refused(format!("the component has more than the {PLUGIN_BYTES_MAX} bytes that a plugin may have"));
    let size =
        usize::try_from(layer.size).map_err(|_| refused(format!("its layer has {} bytes, says the manifest", layer.size)))?;
    if size > PLUGIN_BYTES_MAX {
        return Err(too_large());
    }
    let other_size = |got: &str| refused(format!("the registry gave {got} bytes than the {size} that the manifest names"));
    // A manifest may name other servers for the same bytes: only the registry is asked.
    let wanted = OciDescriptor { digest: layer.digest.clone(), ..OciDescriptor::default() };
    let mut stream = client.pull_blob_stream(image, &wanted).await.map_err(|error| failed(source, &error))?;
    let mut bytes = Vec::new();
    while let Some(piece) = stream.next().await {
        let piece = piece.map_err(|error| refused(error.to_string()))?;
        if bytes.len() + piece.len() > size {
            return Err(other_size("more"));
        }
        bytes.extend_from_slice(&piece);
    }
    if bytes.len() < size {
        return Err(other_size("fewer"));
    }
    // The library compares what it streams; this does not rest on that. Other hashes than ours are the library's alone.
    if layer.digest.starts_with("sha256:") && Digest::of(&bytes).to_string() != layer.digest {
        return Err(refused(format!("the registry gave other bytes than the manifest names ({})", layer.digest)));
    }
    eprintln!("{source} is {digest}");
    Ok(bytes)
}

/// Puts a plugin into a registry; returns where it is, by its digest.
pub(super) async fn push(bytes: Vec<u8>, target: &str, access: &Access) -> Result<String, Failure> {
    let way = Way::to(target, access).await?;
    way.within_time(push_by(&way, bytes, target)).await
}

async fn push_by(way: &Way, bytes: Vec<u8>, target: &str) -> Result<String, Failure> {
    let Way { image, client, auth, .. } = way;
    if image.tag().is_none() || image.digest().is_some() {
        return Err(Failure::Usage(format!("`{target}`: say under which tag: oci://HOST/REPO:TAG")));
    }
    let made = WasmConfig::from_raw_component(bytes, None);
    let (config, layer) = made.map_err(|error| Failure::Refused(format!("this is no component: {error:#}")))?;
    let config = serde_json::to_vec(&config).map_err(|error| Failure::Refused(error.to_string()))?;
    let config = Config::new(config, WASM_MANIFEST_CONFIG_MEDIA_TYPE.to_owned(), None);
    let layers = [ImageLayer::new(layer.data, WASM_LAYER_MEDIA_TYPE.to_owned(), None)];
    let mut manifest = OciImageManifest::build(&layers, &config, None);
    manifest.media_type = Some(WASM_MANIFEST_MEDIA_TYPE.to_owned());
    client.push(image, &layers, config, auth, Some(manifest)).await.map_err(|error| failed(target, &error))?;
    let digest = client.fetch_manifest_digest(image, auth).await.map_err(|error| failed(target, &error))?;
    Ok(format!("{target}@{digest}"))
}

/// A reference taken apart, and a way to its registry.
struct Way {
    source: String,
    image: Reference,
    client: Client,
    auth: RegistryAuth,
    guard: Guard,
}

impl Way {
    async fn to(source: &str, access: &Access) -> Result<Self, Failure> {
        let usage =
            |why: &str| Failure::Usage(format!("`{source}`: {why}; write oci://HOST/REPO:TAG or oci://HOST/REPO@sha256:…"));
        let text = source.strip_prefix(SCHEME).ok_or_else(|| usage("this is no registry's"))?;
        // Without a host the library would take one that nobody named, and without a tag `latest`.
        let (host, rest) = text.split_once('/').ok_or_else(|| usage("the repository is missing"))?;
        if !(host.contains(['.', ':']) || host == "localhost") {
            return Err(usage("the registry's host is missing"));
        }
        if !rest.contains([':', '@']) {
            return Err(usage("the tag or the digest is missing"));
        }
        let image: Reference = text.parse().map_err(|error: oci_client::ParseError| usage(&error.to_string()))?;
        let protocol = match (access.plain_http, is_loopback(host)) {
            (false, _) => ClientProtocol::Https,
            (true, true) => ClientProtocol::Http,
            (true, false) => return Err(usage("--plain-http is for registries on this machine")),
        };
        let mut named = Vec::new();
        for place in [host].into_iter().chain(access.private.iter().map(String::as_str)) {
            let unclear = || Failure::Usage(format!("`{place}` is no server: write HOST or HOST:PORT"));
            named.push(guard::place(place).ok_or_else(unclear)?);
        }
        if access.plain_http && !host.contains(':') {
            named.push(format!("{host}:80"));
        }
        let guard = Guard::start(Rules { named, plain_http: access.plain_http })
            .await
            .map_err(|error| Failure::Refused(format!("{source}: {error}")))?;
        // The library takes whichever the process has, and the host has this one everywhere.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let config = ClientConfig {
            protocol,
            platform_resolver: None,
            connect_timeout: Some(REGISTRY_SILENCE_MAX),
            read_timeout: Some(REGISTRY_SILENCE_MAX),
            https_proxy: Some(guard.url()),
            http_proxy: Some(guard.url()),
            ..ClientConfig::default()
        };
        let client = Client::try_from(config).map_err(|error| Failure::Refused(error.to_string()))?;
        // What is called `docker.io` is served, and logged in to, elsewhere.
        let auth = credentials(image.resolve_registry())?;
        Ok(Self { source: source.to_owned(), image, client, auth, guard })
    }

    /// Waits for an end, but not for ever. What the guard did not do says more than what the library makes of it.
    async fn within_time<T>(&self, work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
        let source = &self.source;
        match tokio::time::timeout(REGISTRY_SECONDS_MAX, work).await {
            Err(_) => Err(Failure::Unreachable(format!("{source}: not done within {} s", REGISTRY_SECONDS_MAX.as_secs()))),
            Ok(Err(failure)) => Err(match (self.guard.refused(), failure) {
                (Some(Refusal::Failed(why)), _) => Failure::Unreachable(format!("{source}: {why}")),
                (Some(Refusal::Denied(why)), _) => Failure::Refused(format!("{source}: {why}")),
                (None, failure) => failure,
            }),
            Ok(done) => done,
        }
    }
}

fn is_loopback(host: &str) -> bool {
    let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
    name == "localhost" || name.parse::<std::net::Ipv4Addr>().is_ok_and(|address| address.is_loopback())
}

/// `WEFT_REGISTRY_USER` and `WEFT_REGISTRY_PASSWORD`, else what `docker login` wrote down for this registry, else none.
fn credentials(host: &str) -> Result<RegistryAuth, Failure> {
    let variable = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
    match (variable("WEFT_REGISTRY_USER"), variable("WEFT_REGISTRY_PASSWORD")) {
        (Some(user), Some(password)) => return Ok(RegistryAuth::Basic(user, password)),
        (None, None) => {}
        _ => return Err(Failure::Usage("WEFT_REGISTRY_USER and WEFT_REGISTRY_PASSWORD are given together".into())),
    }
    let folder = variable("DOCKER_CONFIG").map(PathBuf::from).or_else(|| Some(std::env::home_dir()?.join(".docker")));
    let Some(file) = folder.map(|folder| folder.join("config.json")) else { return Ok(RegistryAuth::Anonymous) };
    let Ok(text) = std::fs::read(&file) else { return Ok(RegistryAuth::Anonymous) };
    let unreadable = || Failure::Usage(format!("{}: this is not what `docker login` writes", file.display()));
    let config: Value = serde_json::from_slice(&text).map_err(|_| unreadable())?;
    let plain = |name: &str| {
        let name = name.trim_start_matches("https://").trim_start_matches("http://");
        name.split('/').next().unwrap_or_default() == host
    };
    let mut known = config["auths"].as_object().into_iter().flatten();
    let Some(auth) = known.find_map(|(name, entry)| entry["auth"].as_str().filter(|_| plain(name))) else {
        return Ok(RegistryAuth::Anonymous);
    };
    let decoded = base64::prelude::BASE64_STANDARD.decode(auth).ok().and_then(|bytes| String::from_utf8(bytes).ok());
    let (user, password) = decoded.as_deref().and_then(|text| text.split_once(':')).ok_or_else(unreadable)?;
    Ok(RegistryAuth::Basic(user.to_owned(), password.to_owned()))
}

fn failed(source: &str, error: &OciDistributionError) -> Failure {
    use OciDistributionError as Kind;
    let text = format!("{source}: {error}");
    let says = |codes: &[OciErrorCode]| match error {
        Kind::RegistryError { envelope, .. } => envelope.errors.iter().any(|error| codes.contains(&error.code)),
        _ => false,
    };
    let unknown = [OciErrorCode::ManifestUnknown, OciErrorCode::BlobUnknown, OciErrorCode::NameUnknown, OciErrorCode::NotFound];
    match error {
        Kind::ImageManifestNotFoundError(_) | Kind::ServerError { code: 404, .. } => Failure::NotFound(text),
        _ if says(&unknown) => Failure::NotFound(text),
        Kind::UnauthorizedError { .. } | Kind::AuthenticationFailure(_) | Kind::ServerError { code: 401 | 403, .. } => {
            denied(&text)
        }
        _ if says(&[OciErrorCode::Unauthorized, OciErrorCode::Denied]) => denied(&text),
        Kind::RequestError(inner) if inner.is_connect() || inner.is_timeout() => Failure::Unreachable(text + &causes(inner)),
        _ => Failure::Refused(text),
    }
}

fn denied(text: &str) -> Failure {
    Failure::Refused(format!("{text}; give WEFT_REGISTRY_USER and WEFT_REGISTRY_PASSWORD, or log in with `docker login`"))
}
