//! What a process knows of the machine that it runs on.

/// The machine's name, as `uname -n` tells it.
#[must_use]
pub fn name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    #[test]
    fn every_machine_has_a_name() {
        assert!(!super::name().is_empty());
    }
}
