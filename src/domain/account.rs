//! Who the operator is to the API server, and what the owner of a Secret types to give it a right on
//! that one Secret.

/// Whom the API server takes the operator for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Account {
    /// A ServiceAccount, as in a cluster.
    ServiceAccount {
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
    },
    /// Somebody else, as where a person runs it with a kubeconfig of their own.
    User(String),
}

/// How the username of every ServiceAccount begins.
const SERVICE_ACCOUNT: &str = "system:serviceaccount:";

impl Account {
    /// Reads a username.
    #[must_use]
    pub fn parse(username: &str) -> Self {
        let parts = username.strip_prefix(SERVICE_ACCOUNT);
        match parts.and_then(|parts| parts.split_once(':')) {
            Some((namespace, name)) => Self::ServiceAccount {
                namespace: namespace.to_owned(),
                name: name.to_owned(),
            },
            None => Self::User(username.to_owned()),
        }
    }

    /// The username.
    #[must_use]
    pub fn username(&self) -> String {
        match self {
            Self::ServiceAccount { namespace, name } => {
                format!("{SERVICE_ACCOUNT}{namespace}:{name}")
            }
            Self::User(username) => username.clone(),
        }
    }

    /// The command by which the owner of a Secret lets the operator use a verb on it, and on no
    /// other: a Role and a RoleBinding in the Secret's own namespace, ready to paste.
    #[must_use]
    pub fn grant_command(&self, verb: &str, namespace: &str, secret: &str) -> String {
        let role = format!("key-protect-operator-{verb}-{secret}");
        let subject = match self {
            Self::ServiceAccount { namespace, name } => {
                format!("--serviceaccount={namespace}:{name}")
            }
            Self::User(username) => format!("--user='{}'", username.replace('\'', r"'\''")),
        };
        format!(
            "kubectl create role {role} -n {namespace} --verb={verb} --resource=secrets \
             --resource-name={secret} && kubectl create rolebinding {role} -n {namespace} \
             --role={role} {subject}"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_username_is_read_and_written_again() {
        let ours = "system:serviceaccount:key-protect-system:key-protect-operator";
        let account = Account::ServiceAccount {
            namespace: "key-protect-system".to_owned(),
            name: "key-protect-operator".to_owned(),
        };
        assert_eq!(Account::parse(ours), account);
        assert_eq!(account.username(), ours);
        for other in [
            "kubernetes-admin",
            "system:serviceaccount:",
            "system:node:a:b",
        ] {
            assert_eq!(Account::parse(other).username(), other);
        }
        assert_eq!(
            Account::parse("system:node:a:b"),
            Account::User("system:node:a:b".to_owned())
        );
    }

    #[test]
    fn the_command_names_one_verb_on_one_secret_for_the_operators_own_account() {
        let account = Account::parse("system:serviceaccount:key-protect-system:operator");
        assert_eq!(
            account.grant_command("get", "payments", "kp-key"),
            "kubectl create role key-protect-operator-get-kp-key -n payments --verb=get \
             --resource=secrets --resource-name=kp-key && kubectl create rolebinding \
             key-protect-operator-get-kp-key -n payments --role=key-protect-operator-get-kp-key \
             --serviceaccount=key-protect-system:operator"
        );
        // Whatever a username holds, a shell takes it for one word.
        let person = Account::parse("o'neill; rm -rf /");
        let command = person.grant_command("patch", "a", "b");
        assert!(
            command.ends_with(r"--user='o'\''neill; rm -rf /'"),
            "{command}"
        );
    }
}
