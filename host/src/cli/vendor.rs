//! `weft vendor`

use std::path::PathBuf;

use bytes::Bytes;
use clap::Subcommand;
use http::Method;

use super::Failure;
use super::client::{Client, segment};
use super::print;

#[derive(Subcommand)]
pub(super) enum Vendor {
    /// Trust a public key for a vendor's plugins. From then on only files of that vendor are taken that one of its keys signed.
    Trust {
        /// The vendor, as its plugins' names begin.
        vendor: String,
        /// The key: PEM, as `weft plugin keygen` and `openssl pkey -pubout` write it.
        key: PathBuf,
    },
    /// List the keys that are trusted.
    List,
    /// Trust a key no longer. What it signed stays installed; a host with --require-signed leaves it out at its next start.
    Distrust {
        /// The vendor.
        vendor: String,
        /// The key's fingerprint, as the list shows it.
        fingerprint: String,
    },
}

pub(super) async fn run(verb: Vendor, client: &Client) -> Result<(), Failure> {
    match verb {
        Vendor::Trust { vendor, key } => {
            let pem = std::fs::read(&key).map_err(|error| Failure::Usage(format!("{}: {error}", key.display())))?;
            let trusted = client.send(Method::POST, &format!("/vendors/{}/keys", segment(&vendor)), pem.into()).await?;
            if client.json {
                print::json(&trusted);
            } else {
                println!("{vendor}: trusts {}", print::text(&trusted, "fingerprint"));
            }
        }
        Vendor::List => {
            let page = client.get("/vendors").await?;
            if client.json {
                print::json(&page);
                return Ok(());
            }
            let rows =
                print::items(&page).map(|key| ["vendor", "fingerprint", "trusted_at"].map(|member| print::text(key, member)));
            print::table(["vendor", "key", "trusted"], rows.collect(), "no key is trusted");
        }
        Vendor::Distrust { vendor, fingerprint } => {
            let path = format!("/vendors/{}/keys/{}", segment(&vendor), segment(&fingerprint));
            client.send(Method::DELETE, &path, Bytes::new()).await?;
            if !client.json {
                println!("{vendor}: trusts {fingerprint} no longer");
            }
        }
    }
    Ok(())
}
