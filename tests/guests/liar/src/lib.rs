//! A plugin that misbehaves when it is asked who it is. In which way stands in its bytes, where a test writes it.

use std::borrow::Cow;

use schemars::{Schema, SchemaGenerator};
use weft_sdk::prelude::*;

/// The way, padded with dashes. A test finds it in the component and writes another over it.
static WAY: [u8; 32] = *b"liar-way:honest-----------------";

fn way() -> String {
    // SAFETY: it is a static; read so that the compiler does not take its content for known.
    let bytes = unsafe { std::ptr::read_volatile(&WAY) };
    let text = String::from_utf8_lossy(&bytes);
    text.trim_start_matches("liar-way:").trim_end_matches('-').to_owned()
}

/// Says one thing and does another.
#[derive(Deserialize)]
struct Lie {
    /// Not in the schema of the way `lying`.
    #[serde(default)]
    needed: Option<String>,
}

impl JsonSchema for Lie {
    fn schema_name() -> Cow<'static, str> {
        "Lie".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let patterns = |count: usize| -> Value { (0..count).map(|n| (format!("p{n}"), json!({"pattern": "x"}))).collect() };
        let schema = match way().as_str() {
            "bad-schema" => json!({"type": "no such type"}),
            "fetching" => json!({"$ref": "http://127.0.0.1:1/schema.json"}),
            "patterns" => json!({"type": "object", "properties": patterns(5_000)}),
            "pattern" => json!({"type": "object", "properties": {"p": {"pattern": "(\\w{500}){500}"}}}),
            "long" => json!({"type": "object", "title": "x".repeat(5 << 20)}),
            _ => json!({"type": "object", "additionalProperties": false}),
        };
        schema.try_into().expect("an object")
    }
}

impl Node for Lie {
    const NAME: &str = "lie";

    fn node_type() -> NodeType {
        let described = NodeType::of::<Self>();
        match way().as_str() {
            "trap" => panic!("on purpose"),
            "spin" => loop {
                std::hint::black_box(0);
            },
            "sleep" => {
                std::thread::sleep(std::time::Duration::from_secs(3_600));
                described
            }
            "grow" => {
                let mut all = Vec::new();
                loop {
                    all.push(std::hint::black_box(vec![1_u8; 1 << 20]));
                }
            }
            "huge" => described.category(&"x".repeat(20 << 20)),
            "branches" => (0..10_000).fold(described, |described, number| described.branch(&format!("b{number}"), "B")),
            "waits" => described.waits(&["weather"]),
            _ => described,
        }
    }

    fn execute(self, _: &Call) -> Answer {
        let needed = self.needed.ok_or_else(|| Failure::new("needed", "its schema does not let anybody give what it needs"))?;
        done(needed)
    }
}

weft_sdk::plugin! { name: "acme/liar", nodes: [Lie] }
