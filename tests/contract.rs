//! The contract grows and never changes: what was released once stays as it was.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on stops")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use semver::Version;
use sha2::{Digest as _, Sha256};
use wit_parser::{
    Function, Handle, InterfaceId, PackageName, Resolve, Stability, Type, TypeDefKind, TypeId, TypeOwner, UnresolvedPackageGroup,
    WorldItem,
};

fn wit() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../wit")
}

/// A version of the contract: what is imported from the host, and what is exported to it, by name.
struct Contract {
    version: Version,
    interfaces: BTreeMap<String, Interface>,
}

/// Its types and functions, written out in full, so that equal texts mean that components link.
#[derive(Default)]
struct Interface {
    is_exported: bool,
    types: BTreeMap<String, String>,
    functions: BTreeMap<String, String>,
    /// `@since` of its functions; of itself under the empty name.
    since: BTreeMap<String, Version>,
}

impl Contract {
    fn read(folder: &Path) -> Self {
        Self::of(UnresolvedPackageGroup::parse_dir(folder).unwrap())
    }

    fn parse(text: &str) -> Self {
        Self::of(UnresolvedPackageGroup::parse("inline.wit", text).unwrap())
    }

    fn of(parsed: UnresolvedPackageGroup) -> Self {
        let mut resolve = Resolve { all_features: true, ..Resolve::default() };
        let package = resolve.push_group(parsed).unwrap();
        let PackageName { version, .. } = resolve.packages[package].name.clone();
        let exported = |id: InterfaceId| {
            let mut worlds = resolve.worlds.iter();
            worlds.any(|(_, world)| {
                world.exports.values().any(|item| matches!(item, WorldItem::Interface { id: other, .. } if *other == id))
            })
        };
        let mut interfaces = BTreeMap::new();
        for (name, id) in &resolve.packages[package].interfaces {
            let interface = &resolve.interfaces[*id];
            let mut read = Interface { is_exported: exported(*id), ..Interface::default() };
            for (name, id) in &interface.types {
                read.types.insert(name.clone(), kind(&resolve, *id));
            }
            for (name, function) in &interface.functions {
                read.functions.insert(name.clone(), signature(&resolve, function));
                read.since.extend(since(&function.stability).map(|version| (name.clone(), version)));
            }
            read.since.extend(since(&interface.stability).map(|version| (String::new(), version)));
            interfaces.insert(name.clone(), read);
        }
        Self { version: version.unwrap(), interfaces }
    }

    /// What a plugin made for `released` would miss in this version, one sentence each.
    fn breaks(&self, released: &Self) -> Vec<String> {
        let mut breaks = Vec::new();
        for (name, old) in &released.interfaces {
            let Some(new) = self.interfaces.get(name) else {
                breaks.push(format!("the interface `{name}` is gone"));
                continue;
            };
            for (what, old, new) in [("type", &old.types, &new.types), ("function", &old.functions, &new.functions)] {
                for (item, old) in old {
                    match new.get(item) {
                        None => breaks.push(format!("the {what} `{name}.{item}` is gone")),
                        Some(new) if new != old => {
                            breaks.push(format!("the {what} `{name}.{item}` was\n  {old}\nand is\n  {new}"));
                        }
                        Some(_) => {}
                    }
                }
            }
            if old.is_exported {
                let added = new.functions.keys().filter(|function| !old.functions.contains_key(*function));
                breaks.extend(
                    added.map(|function| format!("plugins export `{name}`, which must not get the function `{function}`")),
                );
            }
        }
        breaks
    }

    /// What is there since the last release without saying so.
    fn undated(&self, released: &Self) -> Vec<String> {
        let mut undated = Vec::new();
        for (name, new) in &self.interfaces {
            let old = released.interfaces.get(name);
            let is_old = |item: &String| match item.as_str() {
                "" => old.is_some(),
                item => old.is_some_and(|old| old.functions.contains_key(item)),
            };
            for item in new.functions.keys().chain([&String::new()]).filter(|item| !is_old(item)) {
                // What stands in a new interface is as new as that.
                let dated = new.since.get(item).or(new.since.get("").filter(|_| old.is_none()));
                if dated != Some(&self.version) {
                    undated.push(format!("`{name}.{item}` is new: write @since(version = {}) above it", self.version));
                }
            }
        }
        undated
    }
}

fn since(stability: &Stability) -> Option<Version> {
    match stability {
        Stability::Stable { since, .. } => Some(since.clone()),
        _ => None,
    }
}

fn signature(resolve: &Resolve, function: &Function) -> String {
    let params = function.params.iter().map(|param| format!("{}: {}", param.name, named(resolve, param.ty)));
    let result = function.result.map(|result| named(resolve, result));
    format!("({}) -> {}", params.collect::<Vec<_>>().join(", "), result.unwrap_or_default())
}

/// A type as another one refers to it: by name, where it has one.
fn named(resolve: &Resolve, of: Type) -> String {
    let Type::Id(id) = of else { return format!("{of:?}").to_lowercase() };
    let definition = &resolve.types[id];
    match (&definition.name, definition.owner) {
        (Some(name), TypeOwner::Interface(owner)) => {
            format!("{}.{name}", resolve.interfaces[owner].name.as_deref().unwrap_or_default())
        }
        (Some(name), _) => name.clone(),
        (None, _) => kind(resolve, id),
    }
}

/// What a type is made of.
fn kind(resolve: &Resolve, id: TypeId) -> String {
    let named = |of: &Type| named(resolve, *of);
    let optional = |of: &Option<Type>| of.as_ref().map_or_else(|| "_".to_owned(), named);
    match &resolve.types[id].kind {
        TypeDefKind::Record(record) => {
            let fields = record.fields.iter().map(|field| format!("{}: {}", field.name, named(&field.ty)));
            format!("record {{ {} }}", fields.collect::<Vec<_>>().join(", "))
        }
        TypeDefKind::Variant(variant) => {
            let cases = variant.cases.iter().map(|case| format!("{}({})", case.name, optional(&case.ty)));
            format!("variant {{ {} }}", cases.collect::<Vec<_>>().join(", "))
        }
        TypeDefKind::Enum(cases) => {
            format!("enum {{ {} }}", cases.cases.iter().map(|case| case.name.as_str()).collect::<Vec<_>>().join(", "))
        }
        TypeDefKind::Flags(flags) => {
            format!("flags {{ {} }}", flags.flags.iter().map(|flag| flag.name.as_str()).collect::<Vec<_>>().join(", "))
        }
        TypeDefKind::List(of) => format!("list<{}>", named(of)),
        TypeDefKind::Option(of) => format!("option<{}>", named(of)),
        TypeDefKind::Result(result) => format!("result<{}, {}>", optional(&result.ok), optional(&result.err)),
        TypeDefKind::Tuple(tuple) => format!("tuple<{}>", tuple.types.iter().map(named).collect::<Vec<_>>().join(", ")),
        TypeDefKind::Handle(Handle::Own(id)) => format!("own<{}>", named(&Type::Id(*id))),
        TypeDefKind::Handle(Handle::Borrow(id)) => format!("borrow<{}>", named(&Type::Id(*id))),
        TypeDefKind::Type(of) => format!("= {}", named(of)),
        other => format!("{other:?}"),
    }
}

fn same_track(one: &Version, other: &Version) -> bool {
    one.major == other.major && (one.major > 0 || one.minor == other.minor)
}

fn released() -> Vec<PathBuf> {
    let entries = std::fs::read_dir(wit().join("released")).unwrap().map(|entry| entry.unwrap().path());
    let mut folders: Vec<PathBuf> = entries.filter(|path| path.is_dir()).collect();
    folders.sort();
    folders
}

#[test]
fn the_contract_keeps_what_was_released() {
    let now = Contract::read(&wit());
    assert_eq!(now.version.to_string(), weft::plugin::CONTRACT);
    let mut last: Option<Contract> = None;
    for folder in released() {
        let then = Contract::read(&folder);
        assert_eq!(folder.file_name().unwrap().to_str().unwrap(), then.version.to_string());
        assert!(then.version <= now.version, "{} is released and newer than wit/", then.version);
        if same_track(&then.version, &now.version) {
            assert_eq!(now.breaks(&then), Vec::<String>::new(), "plugins made for {} would not link", then.version);
            assert!(
                then.version != now.version || now.interfaces.len() == then.interfaces.len() && now.undated(&then).is_empty(),
                "{} is released: what is added needs the next version",
                then.version
            );
            if last.as_ref().is_none_or(|last| last.version < then.version) {
                last = Some(then);
            }
        }
    }
    let last = last.expect("a version of this track is released");
    assert_eq!(now.undated(&last), Vec::<String>::new());
}

#[test]
fn what_is_released_is_what_was_frozen() {
    let listed = std::fs::read_to_string(wit().join("released/SHA256SUMS")).unwrap();
    let listed: BTreeMap<&str, &str> =
        listed.lines().map(|line| line.split_once("  ").unwrap()).map(|(sum, path)| (path, sum)).collect();
    let mut found = BTreeMap::new();
    for folder in released() {
        for entry in std::fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.strip_prefix(wit().join("released")).unwrap().to_str().unwrap().to_owned();
            found.insert(name, hex::encode(Sha256::digest(std::fs::read(&path).unwrap())));
        }
    }
    let found: BTreeMap<&str, &str> = found.iter().map(|(path, sum)| (path.as_str(), sum.as_str())).collect();
    assert_eq!(found, listed, "a file of a released version was changed, added or taken away");
}

#[test]
fn breaks_are_seen_and_growth_is_none() {
    const OLD: &str = "package a:b@1.0.0;
        interface host { record r { a: u8 } variant v { one, two(string) } f: func(r: r) -> result<v, string>; }
        interface guest { enum e { x, y } g: func() -> e; }
        world w { import host; export guest; }";
    let old = Contract::parse(OLD);
    let breaks = |from: &str, to: &str| {
        assert!(OLD.contains(from));
        Contract::parse(&OLD.replace(from, to)).breaks(&old)
    };
    for (from, to, said) in [
        ("a: u8", "a: u16", "type `host.r`"),
        ("a: u8", "a: u8, b: bool", "type `host.r`"),
        ("one, two(string)", "one, two(string), three", "type `host.v`"),
        ("enum e { x, y }", "enum e { y, x }", "type `guest.e`"),
        ("func(r: r) -> result<v, string>", "func(r: r) -> result<v>", "function `host.f`"),
        ("f: func(r: r)", "f: func(other: r)", "function `host.f`"),
        ("g: func() -> e;", "g: func() -> e; h: func();", "must not get the function `h`"),
        ("f: func(r: r) -> result<v, string>;", "", "function `host.f` is gone"),
    ] {
        let breaks = breaks(from, to);
        assert!(breaks.len() == 1 && breaks[0].contains(said), "{to}: {breaks:?}");
    }
    assert_eq!(breaks("g: func() -> e; }", "g: func() -> e; } interface more { m: func(); }"), Vec::<String>::new());
    assert_eq!(breaks("interface host {", "interface host { added: func();"), Vec::<String>::new());
    // What is new says since when.
    let grown = |item: &str| {
        Contract::parse(&OLD.replace("1.0.0", "1.1.0").replace("interface host {", &format!("interface host {{ {item}")))
    };
    assert_eq!(grown("added: func();").undated(&old).len(), 1);
    assert_eq!(grown("@since(version = 1.0.0) added: func();").undated(&old).len(), 1);
    assert_eq!(grown("@since(version = 1.1.0) added: func();").undated(&old), Vec::<String>::new());
}
