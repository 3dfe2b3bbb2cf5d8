//! Apply: what each command does, and that replay does it again.
