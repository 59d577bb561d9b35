//! Whom an image's `User` means, by the rules that container engines follow (opencontainers/runc, `user.GetExecUser`).

/// Somebody to run as.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct User {
    /// Name, where there is one.
    pub(crate) name: Option<String>,
    /// User id.
    pub(crate) uid: u32,
    /// Primary group.
    pub(crate) gid: u32,
    /// Supplementary groups.
    pub(crate) groups: Vec<u32>,
    /// Home directory; `/` for somebody without an entry.
    pub(crate) home: String,
    /// Login shell; `/bin/sh` for somebody without.
    pub(crate) shell: String,
}

/// What this user is called.
pub(crate) fn name_of(uid: u32, passwd: &str) -> Option<&str> {
    passwd.lines().filter_map(account).find(|account| account.uid == uid).map(|account| account.name)
}

struct Account<'a> {
    name: &'a str,
    uid: u32,
    gid: u32,
    home: &'a str,
    shell: &'a str,
}

struct Group<'a> {
    name: &'a str,
    gid: u32,
    members: &'a str,
}

/// Resolves `""`, `name`, `uid`, `uid:gid` or `name:group` against the texts of `/etc/passwd` and `/etc/group`.
///
/// A number needs no entry. An explicit group leaves out the supplementary ones.
pub(crate) fn resolve(spec: &str, passwd: &str, group: &str) -> Result<User, String> {
    let (who, explicit) = spec.split_once(':').unwrap_or((spec, ""));
    let number = if who.is_empty() { Some(0) } else { who.parse::<u32>().ok() };
    let account = passwd.lines().filter_map(account).find(|account| match number {
        Some(uid) => account.uid == uid,
        None => account.name == who,
    });
    let mut user = match (&account, number) {
        (Some(found), _) => User {
            name: Some(found.name.to_owned()),
            uid: found.uid,
            gid: found.gid,
            groups: Vec::new(),
            home: if found.home.is_empty() { "/" } else { found.home }.to_owned(),
            shell: if found.shell.is_empty() { "/bin/sh" } else { found.shell }.to_owned(),
        },
        (None, Some(uid)) => {
            let (home, shell) = ("/".to_owned(), "/bin/sh".to_owned());
            User { name: None, uid, gid: 0, groups: Vec::new(), home, shell }
        }
        (None, None) => return Err(format!("user '{who}' is not in the image's /etc/passwd")),
    };

    let groups = || group.lines().filter_map(group_line);
    if explicit.is_empty() {
        if let Some(account) = account {
            user.groups = groups()
                .filter(|group| group.members.split(',').any(|member| member == account.name))
                .map(|group| group.gid)
                .collect();
            // The kernel takes NGROUPS_MAX; no honest image comes near this.
            user.groups.truncate(1024);
        }
    } else {
        let number = explicit.parse::<u32>().ok();
        user.gid = number
            .or_else(|| groups().find(|group| group.name == explicit).map(|group| group.gid))
            .ok_or_else(|| format!("group '{explicit}' is not in the image's /etc/group"))?;
    }
    Ok(user)
}

/// Home directories of the users with these ids.
pub(crate) fn homes(passwd: &str, ids: std::ops::Range<u32>) -> Vec<&str> {
    passwd
        .lines()
        .filter_map(account)
        .filter(|account| ids.contains(&account.uid))
        .map(|account| account.home)
        .collect()
}

fn account(line: &str) -> Option<Account<'_>> {
    let mut fields = line.split(':');
    let (name, _password) = (fields.next()?, fields.next()?);
    Some(Account {
        name,
        uid: fields.next()?.parse().ok()?,
        gid: fields.next()?.parse().ok()?,
        home: fields.nth(1).unwrap_or_default(),
        shell: fields.next().unwrap_or_default().trim(),
    })
}

fn group_line(line: &str) -> Option<Group<'_>> {
    let mut fields = line.split(':');
    let (name, _password) = (fields.next()?, fields.next()?);
    Some(Group { name, gid: fields.next()?.parse().ok()?, members: fields.next().unwrap_or_default().trim() })
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str = "root:x:0:0:root:/root:/bin/bash\n# no\nbroken\nrunner:x:1000:1001::/home/runner:\n\
                          1234:x:77:78::/odd:/bin/sh\n";
    const GROUP: &str = "root:x:0:\nrunner:x:1001:\ndocker:x:999:other,runner\nsudo:x:27:runner\n";

    fn ids(spec: &str) -> (u32, u32, Vec<u32>, String) {
        let user = resolve(spec, PASSWD, GROUP).unwrap();
        (user.uid, user.gid, user.groups, user.home)
    }

    #[test]
    fn a_number_has_the_name_of_its_first_entry() {
        assert_eq!(name_of(1000, PASSWD), Some("runner"));
        assert_eq!(name_of(999, PASSWD), None);
    }

    #[test]
    fn nobody_named_is_root() {
        assert_eq!(ids(""), (0, 0, vec![], "/root".to_owned()));
        assert_eq!(resolve("", "", "").unwrap().home, "/");
    }

    #[test]
    fn a_name_brings_its_groups_and_home() {
        assert_eq!(ids("runner"), (1000, 1001, vec![999, 27], "/home/runner".to_owned()));
        assert_eq!(resolve("runner", PASSWD, GROUP).unwrap().shell, "/bin/sh");
    }

    #[test]
    fn an_id_with_an_entry_is_that_user() {
        assert_eq!(ids("1000"), ids("runner"));
    }

    #[test]
    fn an_id_without_an_entry_is_taken_as_it_is() {
        assert_eq!(ids("4242"), (4242, 0, vec![], "/".to_owned()));
        assert_eq!(ids("4242:4343"), (4242, 4343, vec![], "/".to_owned()));
    }

    #[test]
    fn an_explicit_group_is_the_only_one() {
        assert_eq!(ids("runner:docker"), (1000, 999, vec![], "/home/runner".to_owned()));
        assert_eq!(ids("1000:27"), (1000, 27, vec![], "/home/runner".to_owned()));
    }

    #[test]
    fn a_number_is_an_id_even_if_somebody_is_called_so() {
        assert_eq!(ids("1234").0, 1234);
    }

    #[test]
    fn unknown_names_are_named() {
        assert!(resolve("ghost", PASSWD, GROUP).unwrap_err().contains("'ghost'"));
        assert!(resolve("root:ghosts", PASSWD, GROUP).unwrap_err().contains("'ghosts'"));
    }
}
