//! The contract as Rust sees it: generated from `wit/`, and named one by one elsewhere.

wit_bindgen::generate!({
    path: "../../wit",
    inline: "
        package weft:sdk;
        world component {
            include weft:plugin/capabilities@0.1.0;
            export weft:plugin/info@0.1.0;
            export weft:plugin/nodes@0.1.0;
            export weft:plugin/triggers@0.1.0;
        }
    ",
    world: "weft:sdk/component",
    pub_export_macro: true,
    export_macro_name: "export_component",
    generate_all,
});
