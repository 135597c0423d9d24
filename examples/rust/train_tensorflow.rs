//! Trains a small network on handwritten digits.

fn main() {}
