//! A component of another world: a command line program.

fn main() {
    println!("hello");
}
