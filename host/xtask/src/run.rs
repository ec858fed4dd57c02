//! `cargo xtask run`: a host with a sample workflow, and a request that works when it is pasted.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::process::{Child, Command, Stdio};

use anyhow::{Context as _, Result, bail};
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

use crate::{guests, host, root, run_command, target};

/// GitHub's own example of a webhook's secret.
const SECRET: &str = "It is a secret to everybody";

pub(crate) fn run(port: &str) -> Result<()> {
    let port: u16 = port.parse().with_context(|| format!("`{port}` is no port; 0 takes a free one"))?;
    guests::build_plugins()?;
    host(&[])?;
    let data = target().join("sample-data");
    let weft = target().join("debug/weft");
    let mut serving = Serving::start(&weft, &data, port)?;
    let url = serving.url.clone();

    let client = |arguments: &[&str]| {
        let mut command = Command::new(&weft);
        command.args(arguments).env("WEFT_DATA", &data).env("WEFT_URL", &url);
        command
    };
    let mut set = client(&["secret", "set", "github"]).stdin(Stdio::piped()).spawn()?;
    set.stdin.take().context("stdin")?.write_all(SECRET.as_bytes())?;
    if !set.wait()?.success() {
        bail!("the secret could not be set");
    }
    let sample = root().join("tests/workflows/github-push.yaml");
    run_command(&mut client(&["workflow", "apply", &sample.to_string_lossy(), "--activate"]))?;

    let payload = root().join("tests/payloads/github-push.json");
    let mut mac = Hmac::<Sha256>::new_from_slice(SECRET.as_bytes()).context("the key")?;
    mac.update(&fs::read(&payload)?);
    let signature = hex::encode(mac.finalize().into_bytes());
    println!("\nA push to main, signed as GitHub signs:\n");
    println!("curl -i {url}/hooks/github-push -H 'content-type: application/json' \\");
    println!("  -H 'x-github-event: push' -H 'x-hub-signature-256: sha256={signature}' \\");
    println!("  --data-binary @{}\n", payload.display());
    println!("Then look at the run:\n");
    println!("export WEFT_URL={url} WEFT_DATA={} PATH=$PATH:{}", data.display(), target().join("debug").display());
    println!("weft run list");
    println!("weft run show ID\n");
    println!("Ctrl-C stops the host.");
    let status = serving.child.wait()?;
    if status.success() { Ok(()) } else { bail!("the host ended ({status})") }
}

struct Serving {
    child: Child,
    url: String,
}

impl Serving {
    /// Starts a host and waits until it listens; its log is shown.
    fn start(weft: &std::path::Path, data: &std::path::Path, port: u16) -> Result<Self> {
        let mut command = Command::new(weft);
        command.arg("serve").arg("--data").arg(data).arg("--listen").arg(format!("127.0.0.1:{port}"));
        let mut child = command.env("NO_COLOR", "1").stderr(Stdio::piped()).spawn().context("the host cannot be started")?;
        let mut log = BufReader::new(child.stderr.take().context("stderr")?);
        let mut url = None;
        let mut line = String::new();
        while url.is_none() && log.read_line(&mut line)? > 0 {
            eprint!("{line}");
            url = line.split_once("listening at ").and_then(|(_, rest)| rest.split(' ').next()).map(ToOwned::to_owned);
            line.clear();
        }
        let Some(url) = url else { bail!("the host did not start; its last words stand above") };
        std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(count @ 1..) = log.read(&mut bytes) {
                let _ = std::io::stderr().write_all(&bytes[..count]);
            }
        });
        Ok(Self { child, url })
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
