//! The contract as the host sees it: generated from `wit/`, and named one by one elsewhere.

wasmtime::component::bindgen!({
    path: "../wit",
    inline: "
        package weft:host;
        /// What this host offers, and what it calls. A component that imports more is refused.
        world host {
            import weft:plugin/log@0.1.0;
            import weft:plugin/progress@0.1.0;
            import weft:plugin/variables@0.1.0;
            import weft:plugin/crypto@0.1.0;
            import weft:plugin/run@0.1.0;
            import weft:plugin/http@0.1.0;
            import weft:plugin/kv@0.1.0;
            import weft:plugin/files@0.1.0;
            import weft:plugin/workflows@0.1.0;
            export weft:plugin/info@0.1.0;
            export weft:plugin/nodes@0.1.0;
            export weft:plugin/triggers@0.1.0;
        }
    ",
    world: "weft:host/host",
    imports: { "weft:plugin/http@0.1.0.send": async },
    exports: { default: async },
});
