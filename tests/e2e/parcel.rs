//! The test plugin `acme/parcel` in versions 1.0.0, 1.1.0 and 2.0.0, as whoever makes or forges components would have it.

use serde_json::{Value, json};
use wasm_encoder::{ComponentImportSection, ComponentSection as _, ComponentTypeRef, ComponentTypeSection, InstanceType};

use crate::harness::{Host, guest, workflow};

/// A version of it.
pub(crate) fn parcel(version: &str) -> Vec<u8> {
    guest(match version {
        "1.0.0" => "parcel_1_0",
        "1.1.0" => "parcel_1_1",
        "2.0.0" => "parcel_2_0",
        other => panic!("no {other}"),
    })
}

/// The same component, which asks for a capability more.
pub(crate) fn asking(component: &[u8], capability: &str) -> Vec<u8> {
    let validated = wasmparser::Validator::new().validate_all(component).unwrap();
    let mut types = ComponentTypeSection::new();
    types.instance(&InstanceType::new());
    let mut imports = ComponentImportSection::new();
    let name = format!("weft:plugin/{capability}@{}", weft::plugin::CONTRACT);
    imports.import(name.as_str(), ComponentTypeRef::Instance(validated.as_ref().component_type_count()));
    let mut asking = component.to_vec();
    types.append_to_component(&mut asking);
    imports.append_to_component(&mut asking);
    asking
}

/// A workflow whose answer is the version of the plugin that carried it out.
pub(crate) fn wrapping(requirement: &str) -> Value {
    let wrap = json!({"key": "wrap", "type": format!("acme/parcel/wrap{requirement}"), "config": {}});
    let answer = json!({"key": "a", "type": "response", "config": {"body": {"version": "{{$steps.wrap.result}}"}}});
    workflow("wrapping", &json!({"mode": "sync"}), &json!([wrap, answer]))
}

/// The version of the plugin that carries out that workflow.
#[track_caller]
pub(crate) fn version_in_use(host: &Host) -> String {
    let answer = host.hook("wrapping", b"{}");
    assert_eq!(answer.status, 200, "{}", String::from_utf8_lossy(&answer.body));
    answer.json()["version"].as_str().unwrap().to_owned()
}
