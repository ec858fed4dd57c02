//! Signatures of small components, each wrong in one way; keys that OpenSSL made.

use super::*;

/// `openssl genpkey -algorithm ed25519`, OpenSSL 3.0.
const PRIVATE: &str = "-----BEGIN PRIVATE KEY-----
MC4CAQAwBQYDK2VwBCIEIPvSOtSF+jSCN/xYMxU4vge0UcvcLwR0c1lQQbwlX+Bg
-----END PRIVATE KEY-----
";

/// `openssl pkey -pubout` of it.
const PUBLIC: &str = "-----BEGIN PUBLIC KEY-----
MCowBQYDK2VwAyEA4KDiZpJ70IeQUxTzgtRTp0OU+91gij/GBGCq4klZUzw=
-----END PUBLIC KEY-----
";

/// `openssl pkey -pubout -outform DER | sha256sum` of it.
const FINGERPRINT: &str = "sha256:ac5f330e14b8b30bc175126be2a81ebad773c8edf43877d34d9b1d4e16637fdf";

/// A component with one custom section.
const COMPONENT: &[u8] = b"\0asm\x0d\0\x01\0\0\x05\x01xyyy";

fn statement(component: &[u8]) -> Statement {
    Statement {
        component: Digest::of(component),
        name: "acme/crm".into(),
        version: "1.2.0-rc.1+build.5".parse().unwrap(),
        capabilities: ["http", "kv"].map(Into::into).into(),
    }
}

fn signed() -> Vec<u8> {
    SigningKey::from_pem(PRIVATE).unwrap().sign(COMPONENT, &statement(COMPONENT)).unwrap()
}

#[test]
fn openssl_and_this_read_each_others_keys() {
    let key = SigningKey::from_pem(PRIVATE).unwrap();
    assert_eq!(*key.to_pem(), PRIVATE);
    assert_eq!(key.public().to_pem(), PUBLIC);
    let public = PublicKey::from_pem(PUBLIC).unwrap();
    assert!(public == key.public());
    assert_eq!(public.fingerprint().to_string(), FINGERPRINT);
    let new = SigningKey::generate();
    assert!(SigningKey::from_pem(&new.to_pem()).unwrap().public() == new.public() && new.public() != public);
}

#[test]
fn what_is_no_key_is_said_to_be_none() {
    let weak =
        "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEAAQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n-----END PUBLIC KEY-----\n";
    for text in ["", "hello", PRIVATE, weak, &PUBLIC[..60], &PUBLIC.replace("VwAyEA", "VwAyEB")] {
        assert!(matches!(PublicKey::from_pem(text), Err(SignatureError::Key(..))), "{text}");
    }
    for text in ["", PUBLIC, &PRIVATE[..60]] {
        assert!(matches!(SigningKey::from_pem(text), Err(SignatureError::Key(..))), "{text}");
    }
}

#[test]
fn a_signed_file_holds_its_component_and_what_was_said_of_it() {
    let file = signed();
    let read = Signed::read(&file).unwrap();
    assert_eq!(read.component, COMPONENT);
    assert_eq!(read.signatures.len(), 1);
    assert_eq!(read.signatures[0].statement, statement(COMPONENT));
    assert!(read.signatures[0].key == PublicKey::from_pem(PUBLIC).unwrap());
    assert!(Signed::read(COMPONENT).unwrap().signatures.is_empty());
}

#[test]
fn several_may_sign_and_each_once() {
    let (first, second) = (SigningKey::from_pem(PRIVATE).unwrap(), SigningKey::generate());
    let both = second.sign(&signed(), &statement(COMPONENT)).unwrap();
    let again = first.sign(&both, &Statement { name: "acme/other".into(), ..statement(COMPONENT) }).unwrap();
    let read = Signed::read(&again).unwrap();
    assert_eq!(read.component, COMPONENT);
    let names: Vec<&str> = read.signatures.iter().map(|signature| signature.statement.name.as_str()).collect();
    assert_eq!(names, ["acme/crm", "acme/other"]);
    assert!(read.signatures[0].key == second.public() && read.signatures[1].key == first.public());
    let mut file = COMPONENT.to_vec();
    for _ in 0..PLUGIN_SIGNATURES_MAX {
        file = SigningKey::generate().sign(&file, &statement(COMPONENT)).unwrap();
    }
    assert!(matches!(first.sign(&file, &statement(COMPONENT)), Err(SignatureError::TooMany)));
}

/// No byte of a signature can be another one, and no byte behind the component is left out.
#[test]
fn every_flipped_bit_is_seen() {
    let file = signed();
    let whole = statement(COMPONENT);
    for at in 0..file.len() {
        for bit in 0..8 {
            let mut bad = file.clone();
            bad[at] ^= 1 << bit;
            let stands = Signed::read(&bad).is_ok_and(|read| {
                read.signatures.iter().any(|signature| signature.statement == whole)
                    && Digest::of(read.component) == whole.component
            });
            assert!(!stands, "bit {bit} of byte {at}");
        }
    }
    for length in 0..file.len() {
        let stands = Signed::read(&file[..length]).is_ok_and(|read| !read.signatures.is_empty());
        assert!(!stands, "cut off after {length}");
    }
}

#[test]
fn nothing_stands_behind_a_signature() {
    let mut file = signed();
    file.extend(b"\0\x02\x01x");
    assert!(matches!(Signed::read(&file), Err(SignatureError::NotAtEnd)));
}

#[test]
fn a_statement_is_one_text() {
    let text = statement(COMPONENT).to_string();
    assert_eq!(text.parse(), Ok(statement(COMPONENT)));
    assert_eq!(
        Statement { capabilities: BTreeSet::new(), ..statement(COMPONENT) }.to_string().lines().last(),
        Some("capabilities ")
    );
    for wrong in [
        text.replace("signature 1", "signature 2"),
        text.replace("version 1", "version 01"),
        text.replace("http kv", "kv http"),
        text.replace("http kv", "http  kv"),
        text.replace("http kv", "http http"),
        text.clone() + "\n",
        text.trim_end().to_owned(),
        text.replace("name ", "name"),
    ] {
        assert!(wrong.parse::<Statement>().is_err(), "{wrong}");
    }
}
