//! Configuration for programs of the image.

use serde::{Deserialize, Serialize};

/// A file that programs of the image read: put there before any service starts, if it is any use, and never in the way of what the
/// image says itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DropIn {
    /// Absolute path.
    pub path: String,
    /// The file's content, in this form.
    pub text: String,
    /// What the file is made of its text.
    #[serde(default)]
    pub form: Form,
    /// What becomes of a file that is there.
    pub meets: Meets,
    /// The programs that read it (looked up where programs usually are) and the directories that they have (absolute paths). Without
    /// any of them in the image, the file is left out.
    pub readers: Vec<String>,
    /// What must not be said in the image.
    #[serde(default)]
    pub unless: Vec<Said>,
    /// Who reads the file again where it runs already: below an image's own init it began before the file was there.
    #[serde(default)]
    pub reload: Option<Reload>,
    /// Name and value of a variable that leads programs to the file. Where the file is there, jobs have it, unless the image or
    /// the job says something else.
    #[serde(default)]
    pub variable: Option<(String, String)>,
}

/// What a file is made of a text.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Form {
    /// The text itself.
    #[default]
    Text,
    /// A key store of Java's (JKS) with the text's certificates (PEM), and with those of the image: Java trusts nobody who is not
    /// in it.
    JavaKeyStore {
        /// Where an image has its certificates (PEM). The first file that is there counts; without any, the store is left out.
        bundles: Vec<String>,
    },
}

/// A program that reads its configuration again at SIGHUP.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reload {
    /// Its name, as the kernel has it: at most 15 bytes.
    pub program: String,
    /// The file with its process id. Absolute path.
    pub pid_file: String,
}

/// What becomes of a file that is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Meets {
    /// It stays as it is.
    Stays,
    /// It is a JSON object and gets what it lacks: keys, and elements of lists. What it says otherwise counts.
    Json,
    /// It gets the text at its end, unless it has it.
    Appended,
}

/// Words on one line, by which an image says something itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Said {
    /// Files, and directories of files, where it would stand. The command lines of the machine's services are looked at besides.
    pub paths: Vec<String>,
    /// All of them stand on a line that is no comment.
    pub words: Vec<String>,
}
