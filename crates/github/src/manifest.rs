//! The App that a scope needs, as a manifest: GitHub makes an App of it after a click
//! (<https://docs.github.com/apps/sharing-github-apps/registering-a-github-app-from-a-manifest>).

use serde_json::{Value, json};
use url::Url;

use crate::Scope;
use crate::address::url;

/// Events that the App is told.
pub const EVENTS: [&str; 1] = ["workflow_job"];

/// Permissions that the App needs, as GitHub names them, with their levels.
pub fn permissions(scope: &Scope) -> [(&'static str, &'static str); 3] {
    let runners = match scope {
        Scope::Organization(_) => "organization_self_hosted_runners",
        Scope::Repository { .. } => "administration",
        Scope::Enterprise(_) => "enterprise_self_hosted_runners",
    };
    [(runners, "write"), ("actions", "read"), ("metadata", "read")]
}

/// How the App comes to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewApp {
    /// Where the form is sent to, with POST, from a browser that is logged in.
    pub action: Url,
    /// The manifest, JSON: the value of the form's one field, `manifest`.
    pub manifest: String,
}

/// Whose a repository is. An App that is not public can be installed at its owner only, so that is where it is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Owner {
    /// An organization's.
    Organization,
    /// That of the person who makes the App.
    User,
}

impl NewApp {
    /// The App for a scope of the GitHub at `page` (`https://github.com`). `owner` tells whose a repository is. `name` must
    /// be free in all of GitHub, and is at most 34 characters long. `hook` is where the webhook is delivered; without one
    /// the App has none. An enterprise's runners are managed with a token, so it has no such App.
    pub fn new(page: &Url, scope: &Scope, owner: Owner, name: &str, hook: Option<&Url>) -> Option<Self> {
        let (under, home) = match (scope, owner) {
            (Scope::Enterprise(_), _) => return None,
            (Scope::Repository { owner, name }, Owner::User) => {
                (vec!["settings", "apps", "new"], vec![owner.as_str(), name])
            }
            (Scope::Repository { owner, name }, Owner::Organization) => {
                (vec!["organizations", owner, "settings", "apps", "new"], vec![owner.as_str(), name])
            }
            (Scope::Organization(name), _) => {
                (vec!["organizations", name, "settings", "apps", "new"], vec![name.as_str()])
            }
        };
        let manifest = manifest(scope, &url(page, &home), name, hook).to_string();
        Some(Self { action: url(page, &under), manifest })
    }

    /// A page that sends the form, to be opened in a browser.
    pub fn html(&self) -> String {
        let (action, manifest) = (escape(self.action.as_str()), escape(&self.manifest));
        format!(
            "<!doctype html>\n<meta charset=\"utf-8\">\n<title>Create the GitHub App</title>\n\
             <form method=\"post\" action=\"{action}\">\n\
             <input type=\"hidden\" name=\"manifest\" value=\"{manifest}\">\n\
             <button>Create the GitHub App</button>\n</form>\n"
        )
    }

    /// An address at which GitHub's form for a new App is filled in: for those who do not want a file. It has all that
    /// the manifest has.
    pub fn link(&self) -> Url {
        let manifest: Value = serde_json::from_str(&self.manifest).unwrap_or_default();
        let mut link = self.action.clone();
        {
            let mut query = link.query_pairs_mut();
            let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            query.append_pair("name", &text(&manifest["name"]));
            query.append_pair("url", &text(&manifest["url"]));
            query.append_pair("public", "false");
            let hook = &manifest["hook_attributes"];
            let active = hook["active"].as_bool().unwrap_or(false);
            query.append_pair("webhook_active", if active { "true" } else { "false" });
            if active {
                query.append_pair("webhook_url", &text(&hook["url"]));
            }
            for (name, level) in manifest["default_permissions"].as_object().into_iter().flatten() {
                query.append_pair(name, &text(level));
            }
            for event in manifest["default_events"].as_array().into_iter().flatten() {
                query.append_pair("events[]", &text(event));
            }
        }
        link
    }
}

fn manifest(scope: &Scope, home: &Url, name: &str, hook: Option<&Url>) -> Value {
    let wanted: serde_json::Map<String, Value> =
        permissions(scope).iter().map(|(name, level)| ((*name).to_owned(), (*level).into())).collect();
    // GitHub asks for an address even when nothing is sent there.
    let hook_attributes = match hook {
        Some(url) => json!({ "url": url.as_str(), "active": true }),
        None => json!({ "url": home.as_str(), "active": false }),
    };
    let events: &[&str] = if hook.is_some() { &EVENTS } else { &[] };
    json!({
        "name": name,
        "url": home.as_str(),
        "description": "Runs jobs of GitHub Actions in microVMs",
        "public": false,
        "hook_attributes": hook_attributes,
        "default_permissions": wanted,
        "default_events": events,
    })
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('"', "&quot;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn app_of(scope: &str, owner: Owner, hook: Option<&str>) -> Option<NewApp> {
        let hook: Option<Url> = hook.map(|hook| hook.parse().unwrap());
        let page = "https://github.com".parse().unwrap();
        NewApp::new(&page, &scope.parse().unwrap(), owner, "ci \"<of>\" acme", hook.as_ref())
    }

    #[test]
    fn an_organizations_app() {
        let app = app_of("acme", Owner::Organization, Some("https://ci.example.org/webhook")).unwrap();
        assert_eq!(app.action.as_str(), "https://github.com/organizations/acme/settings/apps/new");
        let manifest: Value = serde_json::from_str(&app.manifest).unwrap();
        let permissions =
            json!({"organization_self_hosted_runners": "write", "actions": "read", "metadata": "read"});
        assert_eq!(manifest["default_permissions"], permissions);
        assert_eq!(manifest["default_events"], json!(["workflow_job"]));
        assert_eq!(manifest["public"], false);
        assert_eq!(manifest["hook_attributes"]["url"], "https://ci.example.org/webhook");
        let query: Vec<(String, String)> =
            app.link().query_pairs().map(|(k, v)| (k.into_owned(), v.into_owned())).collect();
        for pair in [
            ("organization_self_hosted_runners", "write"),
            ("events[]", "workflow_job"),
            ("webhook_url", "https://ci.example.org/webhook"),
            ("name", "ci \"<of>\" acme"),
        ] {
            assert!(query.contains(&(pair.0.into(), pair.1.into())), "{pair:?} in {query:?}");
        }
    }

    #[test]
    fn a_repositorys_app_without_a_webhook() {
        let app = app_of("acme/widgets", Owner::User, None).unwrap();
        assert_eq!(app.action.as_str(), "https://github.com/settings/apps/new");
        let manifest: Value = serde_json::from_str(&app.manifest).unwrap();
        let permissions = json!({"administration": "write", "actions": "read", "metadata": "read"});
        assert_eq!(manifest["default_permissions"], permissions);
        assert_eq!(
            (&manifest["default_events"], &manifest["hook_attributes"]["active"]),
            (&json!([]), &json!(false))
        );
        assert_eq!(manifest["url"], "https://github.com/acme/widgets");
        assert!(app.link().query().unwrap().contains("webhook_active=false"));
        let of_organization = app_of("acme/widgets", Owner::Organization, None).unwrap();
        assert_eq!(of_organization.action.path(), "/organizations/acme/settings/apps/new");
    }

    #[test]
    fn an_enterprise_has_none_and_the_page_is_well_formed() {
        assert_eq!(app_of("enterprises/big", Owner::Organization, None), None);
        let html = app_of("acme", Owner::Organization, None).unwrap().html();
        assert!(html.contains("&quot;name&quot;:&quot;ci \\&quot;&lt;of&gt;\\&quot; acme&quot;"), "{html}");
    }
}
