//! The form in which the operator was installed: whether RBAC lets it read Secrets, and in which
//! namespaces. The scope is told by a flag, the rest is found out by asking the API server what the
//! operator's own account may do.

use crate::api::instance::InstallForm;

/// Namespaces at most. Each takes three watches, and the API server carries a hundred requests on
/// one connection, on which writes and the Lease need their place.
pub const MOST_NAMESPACES: usize = 24;
/// Longest name of a namespace.
const LONGEST: usize = 63;

/// The form in which the operator was installed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Form {
    /// Whether Secrets may be read: listed and watched, in all of the scope.
    pub reads_secrets: bool,
    /// Where the operator works.
    pub scope: Scope,
}

/// Where the operator works.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Scope {
    /// In every namespace.
    #[default]
    Cluster,
    /// In these, by Roles there: sorted, each once, at least one.
    Namespaces(Vec<String>),
}

/// Why a list of namespaces cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidScope {
    /// One is no namespace's name.
    #[error(
        "--namespaces: {0:?} is no namespace's name: lower-case letters, digits and '-', at most 63; list them like payments,orders"
    )]
    Name(String),
    /// There are too many.
    #[error(
        "--namespaces: {0} are too many, at most {MOST_NAMESPACES}: run a second operator for the others, or one for the whole cluster"
    )]
    TooMany(usize),
}

impl Scope {
    /// Reads the flag `--namespaces`; the whole cluster where it names none.
    ///
    /// # Errors
    /// One is no namespace's name, or there are too many.
    pub fn parse(names: &[String]) -> Result<Self, InvalidScope> {
        if names.iter().all(String::is_empty) && names.len() <= 1 {
            return Ok(Self::Cluster);
        }
        if let Some(bad) = names.iter().find(|name| !is_namespace(name)) {
            return Err(InvalidScope::Name(bad.clone()));
        }
        let mut names = names.to_vec();
        names.sort();
        names.dedup();
        if names.len() > MOST_NAMESPACES {
            return Err(InvalidScope::TooMany(names.len()));
        }
        Ok(Self::Namespaces(names))
    }

    /// Whether it is the whole cluster. Only there namespaces are watched, and their labels known.
    #[must_use]
    pub const fn is_cluster(&self) -> bool {
        matches!(self, Self::Cluster)
    }

    /// What KeyProtectKeys and Secrets are watched in: nothing stands for every namespace.
    #[must_use]
    pub fn places(&self) -> Vec<Option<&str>> {
        match self {
            Self::Cluster => vec![None],
            Self::Namespaces(names) => names.iter().map(|name| Some(name.as_str())).collect(),
        }
    }

    /// What KeyProtectInstances are watched in: the operator's own namespace too, whose instances
    /// use the operator's credentials.
    #[must_use]
    pub fn places_of_instances<'a>(&'a self, own: &'a str) -> Vec<Option<&'a str>> {
        let mut places = self.places();
        if !self.is_cluster() && !places.contains(&Some(own)) {
            places.push(Some(own));
        }
        places
    }
}

fn is_namespace(name: &str) -> bool {
    let is_end = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let bytes = name.as_bytes();
    bytes.len() <= LONGEST
        && bytes.first().copied().is_some_and(is_end)
        && bytes.last().copied().is_some_and(is_end)
        && bytes.iter().all(|&byte| is_end(byte) || byte == b'-')
}

impl Form {
    /// Names the form as status, log and metrics show it.
    #[must_use]
    pub const fn name(&self) -> InstallForm {
        match (self.reads_secrets, self.scope.is_cluster()) {
            (true, true) => InstallForm::Standard,
            (false, true) => InstallForm::NoRead,
            (true, false) => InstallForm::StandardNamespaces,
            (false, false) => InstallForm::NoReadNamespaces,
        }
    }
}

/// A verb on Secrets, as far as forms differ in them or share them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SecretVerb {
    /// Every form has it.
    Create,
    /// Every form has it.
    Update,
    /// Every form has it.
    Delete,
    /// Only the forms that read Secrets have it.
    List,
    /// Only the forms that read Secrets have it.
    Watch,
}

impl SecretVerb {
    /// Every one.
    pub const ALL: [Self; 5] = [
        Self::Create,
        Self::Update,
        Self::Delete,
        Self::List,
        Self::Watch,
    ];

    /// Names it as RBAC does.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Update => "update",
            Self::Delete => "delete",
            Self::List => "list",
            Self::Watch => "watch",
        }
    }

    const fn reads(self) -> bool {
        matches!(self, Self::List | Self::Watch)
    }
}

/// Whether the operator's account may do something with Secrets: a question, or its answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Review {
    /// What.
    pub verb: SecretVerb,
    /// Where; nothing stands for every namespace.
    pub namespace: Option<String>,
    /// Whether it may.
    pub allowed: bool,
}

/// Everything that has to be asked: each verb in each place.
#[must_use]
pub fn questions(scope: &Scope) -> Vec<(SecretVerb, Option<String>)> {
    let places = scope.places();
    let each = places.into_iter().flat_map(|place| {
        let verbs = SecretVerb::ALL.into_iter();
        verbs.map(move |verb| (verb, place.map(str::to_owned)))
    });
    each.collect()
}

/// Why the rights that were found are those of no form.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Misfit {
    /// A verb is missing that every form has.
    #[error("the operator may not {} Secrets {}; {}", .0.verb.as_str(), place(.0), remedy(.0))]
    CannotWrite(Review),
    /// Secrets may be read in part. Half of a watch shows nothing, and half of the namespaces
    /// would be held for free of drift.
    #[error(
        "the operator may {} Secrets {}, but not {} them {}: it has to have both everywhere, or neither anywhere; {}",
        .may.verb.as_str(), place(.may), .may_not.verb.as_str(), place(.may_not), remedy(.may_not)
    )]
    Mixed {
        /// Something that it may.
        may: Review,
        /// Something that it may not.
        may_not: Review,
    },
}

fn place(review: &Review) -> String {
    review.namespace.as_ref().map_or_else(
        || "in every namespace".to_owned(),
        |namespace| format!("in namespace {namespace}"),
    )
}

fn remedy(review: &Review) -> &'static str {
    if review.namespace.is_some() {
        "apply the overlay again after adding the namespace to it, or take it out of --namespaces"
    } else {
        "apply one overlay of deploy/overlays as a whole, or list the namespaces in --namespaces"
    }
}

/// Decides which form it is.
///
/// # Errors
/// The rights are those of none.
pub fn decide(scope: &Scope, reviews: &[Review]) -> Result<Form, Misfit> {
    let missing = reviews.iter().find(|r| !r.verb.reads() && !r.allowed);
    if let Some(missing) = missing {
        return Err(Misfit::CannotWrite(missing.clone()));
    }
    let reading = || reviews.iter().filter(|review| review.verb.reads());
    let may = reading().find(|review| review.allowed);
    let may_not = reading().find(|review| !review.allowed);
    if let (Some(may), Some(may_not)) = (may, may_not) {
        return Err(Misfit::Mixed {
            may: may.clone(),
            may_not: may_not.clone(),
        });
    }
    Ok(Form {
        reads_secrets: may.is_some(),
        scope: scope.clone(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scope(names: &[&str]) -> Result<Scope, InvalidScope> {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        Scope::parse(&names)
    }

    /// Answers to everything that is asked: all that is written, and of what is read only this.
    fn answers(scope: &Scope, refused: &[(&str, Option<&str>)]) -> Vec<Review> {
        let asked = questions(scope).into_iter();
        let answered = asked.map(|(verb, namespace)| {
            let is_refused = refused.contains(&(verb.as_str(), namespace.as_deref()));
            Review {
                verb,
                namespace,
                allowed: !is_refused,
            }
        });
        answered.collect()
    }

    #[test]
    fn the_flag_is_read() {
        assert_eq!(scope(&[]), Ok(Scope::Cluster));
        // What an empty environment variable comes as.
        assert_eq!(scope(&[""]), Ok(Scope::Cluster));
        let named = Scope::Namespaces(vec!["orders".to_owned(), "payments".to_owned()]);
        assert_eq!(scope(&["payments", "orders", "payments"]), Ok(named));
        let long = "a".repeat(64);
        for bad in ["Payments", "a.b", "-a", "a-", "a b", "a/b", "*", "", &long] {
            let error = scope(&["payments", bad]).unwrap_err();
            assert_eq!(error, InvalidScope::Name(bad.to_owned()));
            assert!(error.to_string().starts_with("--namespaces: "), "{error}");
        }
        let many: Vec<String> = (0..=MOST_NAMESPACES).map(|n| format!("n{n}")).collect();
        assert_eq!(Scope::parse(&many), Err(InvalidScope::TooMany(25)));
        assert!(Scope::parse(&many[1..]).is_ok());
    }

    #[test]
    fn instances_are_seen_in_the_operators_own_namespace_too() {
        assert_eq!(Scope::Cluster.places(), [None]);
        assert_eq!(Scope::Cluster.places_of_instances("own"), [None]);
        let two = scope(&["a", "b"]).unwrap();
        assert_eq!(two.places(), [Some("a"), Some("b")]);
        assert_eq!(
            two.places_of_instances("own"),
            [Some("a"), Some("b"), Some("own")]
        );
        assert_eq!(two.places_of_instances("b"), [Some("a"), Some("b")]);
    }

    #[test]
    fn both_rights_to_read_make_a_standard_form_and_none_a_form_without() {
        let two = scope(&["a", "b"]).unwrap();
        let none_of = |namespace| [("list", namespace), ("watch", namespace)];
        let none_of_two = [none_of(Some("a")), none_of(Some("b"))].concat();
        for (scope, refused, name) in [
            (&Scope::Cluster, &[][..], InstallForm::Standard),
            (&Scope::Cluster, &none_of(None), InstallForm::NoRead),
            (&two, &[], InstallForm::StandardNamespaces),
            (&two, &none_of_two, InstallForm::NoReadNamespaces),
        ] {
            let form = decide(scope, &answers(scope, refused)).unwrap();
            assert_eq!(form.name(), name);
            assert_eq!(form.reads_secrets, refused.is_empty());
            assert_eq!(form.scope, *scope);
        }
    }

    #[test]
    fn a_mixture_is_no_form_and_is_told_by_what_is_there_and_what_is_not() {
        let two = scope(&["a", "b"]).unwrap();
        for (scope, refused, words) in [
            (
                &Scope::Cluster,
                &[("watch", None)][..],
                "may list Secrets in every namespace, but not watch them in every namespace",
            ),
            (
                &two,
                &[("list", Some("b")), ("watch", Some("b"))],
                "may list Secrets in namespace a, but not list them in namespace b",
            ),
            (
                &two,
                &[("list", Some("a"))],
                "may watch Secrets in namespace a, but not list them in namespace a",
            ),
        ] {
            let told = decide(scope, &answers(scope, refused)).unwrap_err();
            assert!(told.to_string().contains(words), "{told}");
        }
    }

    /// Before an admin has applied any RBAC nothing may be read either: that is no form without
    /// reading.
    #[test]
    fn without_the_right_to_write_it_is_no_form() {
        let one = scope(&["a"]).unwrap();
        for verb in ["create", "update", "delete"] {
            let refused = [(verb, None), ("list", None), ("watch", None)];
            let told = decide(&Scope::Cluster, &answers(&Scope::Cluster, &refused)).unwrap_err();
            let words = format!("may not {verb} Secrets in every namespace; apply one overlay");
            assert!(told.to_string().contains(&words), "{told}");
            let told = decide(&one, &answers(&one, &[(verb, Some("a"))])).unwrap_err();
            let words = format!("may not {verb} Secrets in namespace a; apply the overlay again");
            assert!(told.to_string().contains(&words), "{told}");
        }
    }
}
