//! Which library computes: AWS-LC, or in a build with the feature `fips` its FIPS module.

/// Name and version of the library, as people are told.
pub fn library() -> String {
    let name = if cfg!(feature = "fips") { "AWS-LC FIPS module" } else { "AWS-LC" };
    format!("{name} {}", aws_lc_rs::awslc_version())
}

/// Whether the library is what this build says that it is. A FIPS module that does not pass its own tests ends the
/// process before anybody could ask; this finds one that is none.
pub(super) fn is_as_built() -> bool {
    match cfg!(feature = "fips") {
        true => aws_lc_rs::try_fips_mode().is_ok(),
        false => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_library_is_what_the_build_says() {
        assert!(is_as_built());
        assert_eq!(aws_lc_rs::try_fips_mode().is_ok(), cfg!(feature = "fips"));
        let name = library();
        assert_eq!(name.contains("FIPS"), cfg!(feature = "fips"), "{name}");
        assert!(name.ends_with(|last: char| last.is_ascii_digit()), "{name}");
    }
}
