//! The plugins that are part of this program: components like any other, embedded by `build.rs`. And what others are made of.

include!(concat!(env!("OUT_DIR"), "/built_in.rs"));
