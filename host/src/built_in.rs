//! The plugins that are part of this program: components like any other, embedded by `build.rs`.

include!(concat!(env!("OUT_DIR"), "/built_in.rs"));
