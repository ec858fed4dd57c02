//! Making the engine when a plugin is built: every instance begins with it, in the memory that it was left in.
//!
//! `cargo xtask build` calls the export below once, with the libraries' code, and keeps the component with the memory as it is then and without the export
//! (`host/snapshot`). A component that was not treated so makes the engine when it is first used, and has no libraries.

#[expect(unsafe_code, reason = "bindgen")]
mod bindings {
    wit_bindgen::generate!({
        inline: "
            package weft:build;
            world snapshot {
                /// Makes the engine. `libraries` are scripts, run in order.
                export initialize-snapshot: func(libraries: list<string>) -> result<_, string>;
            }
        ",
        generate_all,
    });

    struct Snapshot;

    impl Guest for Snapshot {
        fn initialize_snapshot(libraries: Vec<String>) -> Result<(), String> {
            crate::Engine::prepare(libraries)
        }
    }

    export!(Snapshot);
}
