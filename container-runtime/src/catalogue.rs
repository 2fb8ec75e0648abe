//! The image catalogue: from a name to an image, in place of registries.
//!
//! Images are registered under a repository, for every tag of it, or under one tag. A name that
//! nobody registered is an image that serves HTTP echo on its declared ports: a deployment of unknown
//! software still answers. Names that a rule refuses cannot be pulled ([`crate::registry`]). The catalogue is assembled where a binary is (`nginx` and the rest here,
//! the cluster's own images by the kubelet, a test's Programs by the test) and then shared.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::files::{ImageFiles, Kind};
use crate::image::{Executables, Image, ImageNameError, ImageReference};
use crate::program::Program;
use crate::programs;
use crate::registry::{ImagePattern, PullError, Refusals};

/// `PATH` of an image that sets none, as OCI runtimes give it.
pub(crate) const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Images remembered before all are forgotten.
const MAX_MADE: usize = 1024;

/// An image before it has a name.
#[derive(Clone)]
pub struct ImageDefinition {
    /// ENTRYPOINT.
    pub entrypoint: Vec<String>,
    /// CMD.
    pub cmd: Vec<String>,
    /// ENV; `PATH` is put in front unless set here.
    pub env: Vec<(String, String)>,
    /// WORKDIR.
    pub working_dir: String,
    /// Whether the image has a shell and the usual commands.
    pub userland: bool,
    /// Its Programs.
    pub executables: Executables,
    /// Files besides those of the base.
    pub files: Vec<(String, Vec<u8>)>,
    /// Size that a node reports.
    pub size_bytes: i64,
}

impl ImageDefinition {
    /// An image whose only executable is this Program, whatever the command, besides a userland.
    pub fn of(program: impl Program) -> Self {
        Self {
            entrypoint: vec!["/program".to_owned()],
            cmd: Vec::new(),
            env: Vec::new(),
            working_dir: "/".to_owned(),
            userland: true,
            executables: Executables::Any(Arc::new(program)),
            files: Vec::new(),
            size_bytes: 10 << 20,
        }
    }

    /// An image with named executables; the first one is the entrypoint.
    pub(crate) fn named(programs: &[(&str, Arc<dyn Program>)]) -> Self {
        let named = programs.iter().map(|(name, program)| ((*name).to_owned(), program.clone()));
        let entrypoint = programs.first().map(|(name, _)| (*name).to_owned());
        Self {
            entrypoint: entrypoint.into_iter().collect(),
            cmd: Vec::new(),
            env: Vec::new(),
            working_dir: "/".to_owned(),
            userland: true,
            executables: Executables::Named(named.collect()),
            files: Vec::new(),
            size_bytes: 10 << 20,
        }
    }

    pub(crate) fn entrypoint(mut self, words: &[&str]) -> Self {
        self.entrypoint = words.iter().map(|word| (*word).to_owned()).collect();
        self
    }

    pub(crate) fn cmd(mut self, words: &[&str]) -> Self {
        self.cmd = words.iter().map(|word| (*word).to_owned()).collect();
        self
    }

    pub(crate) fn env(mut self, name: &str, value: &str) -> Self {
        self.env.push((name.to_owned(), value.to_owned()));
        self
    }

    pub(crate) fn file(mut self, path: &str, content: impl Into<Vec<u8>>) -> Self {
        self.files.push((path.to_owned(), content.into()));
        self
    }

    pub(crate) fn working_dir(mut self, path: &str) -> Self {
        path.clone_into(&mut self.working_dir);
        self
    }

    pub(crate) fn without_userland(mut self) -> Self {
        self.userland = false;
        self
    }

    pub(crate) fn megabytes(mut self, size: i64) -> Self {
        self.size_bytes = size << 20;
        self
    }
}

/// Images by name.
#[derive(Clone)]
pub struct ImageCatalogue {
    /// By repository: every tag.
    repositories: BTreeMap<String, ImageDefinition>,
    /// By repository and tag.
    tagged: BTreeMap<String, ImageDefinition>,
    unknown: ImageDefinition,
    refusals: Refusals,
    userland: Arc<ImageFiles>,
    bare: Arc<ImageFiles>,
    /// Images by full name, so that all containers of an image share one.
    made: Arc<Mutex<BTreeMap<String, Arc<Image>>>>,
    /// Commands that others have added to the userland.
    commands: Arc<Commands>,
}

/// Further commands of the userland, by name.
pub(crate) type Commands = BTreeMap<&'static str, Arc<dyn Program>>;

impl Default for ImageCatalogue {
    fn default() -> Self {
        Self::new()
    }
}

impl ImageCatalogue {
    /// The images of this crate.
    pub fn new() -> Self {
        let mut catalogue = Self {
            repositories: BTreeMap::new(),
            tagged: BTreeMap::new(),
            unknown: programs::unknown(),
            refusals: Refusals::default(),
            userland: Arc::new(programs::base::files(true)),
            bare: Arc::new(programs::base::files(false)),
            made: Arc::default(),
            commands: Arc::default(),
        };
        for (names, definition) in programs::IMAGES {
            for name in *names {
                catalogue
                    .register_image(name, definition())
                    .expect("a test parses every name of the table");
            }
        }
        catalogue
    }

    /// Adds a command to the userland of all images that have one; it stands before ours of the same name.
    pub fn register_command(&mut self, name: &'static str, program: impl Program) {
        self.made = Arc::default();
        programs::base::command(Arc::make_mut(&mut self.userland), name);
        Arc::make_mut(&mut self.commands).insert(name, Arc::new(program));
    }

    /// Registers a Program as an image. A name without a tag stands for every tag.
    ///
    /// # Errors
    /// When the name is no image name.
    pub fn register(&mut self, name: &str, program: impl Program) -> Result<(), ImageNameError> {
        self.register_image(name, ImageDefinition::of(program))
    }

    /// Registers an image. A name without a tag stands for every tag.
    ///
    /// # Errors
    /// When the name is no image name.
    pub fn register_image(
        &mut self,
        name: &str,
        definition: ImageDefinition,
    ) -> Result<(), ImageNameError> {
        let reference = ImageReference::parse(name)?;
        // Clones of the catalogue keep the images that they know.
        self.made = Arc::default();
        let has_tag = name.rsplit('/').next().is_some_and(|last| last.contains(':'));
        match reference.tag.as_ref().filter(|_| has_tag) {
            Some(tag) => {
                self.tagged.insert(format!("{}:{tag}", reference.repository()), definition)
            }
            None => self.repositories.insert(reference.repository(), definition),
        };
        Ok(())
    }

    /// Lets pulls of all images that the pattern names fail.
    pub fn refuse(&mut self, pattern: ImagePattern, error: PullError) {
        self.refusals.add(pattern, error);
    }

    /// Why an image, whose name as written is also given, cannot be pulled; None: it can.
    pub fn refusal(&self, written: &str, reference: &ImageReference) -> Option<PullError> {
        self.refusals.find(written, reference)
    }

    /// Tells whether someone registered the image, or it is one of the fallback's.
    pub fn is_known(&self, reference: &ImageReference) -> bool {
        self.definition(reference).is_some()
    }

    fn definition(&self, reference: &ImageReference) -> Option<&ImageDefinition> {
        let repository = reference.repository();
        let tagged = reference.tag.as_ref().map(|tag| format!("{repository}:{tag}"));
        tagged
            .and_then(|tagged| self.tagged.get(&tagged))
            .or_else(|| self.repositories.get(&repository))
            .or_else(|| {
                let mirror = programs::mirrored(&repository)?;
                self.repositories.get(&mirror)
            })
    }

    /// The image of a name as users write it.
    ///
    /// # Errors
    /// When the name is no image name: `InvalidImageName` of a kubelet.
    pub fn resolve(&self, name: &str) -> Result<Arc<Image>, ImageNameError> {
        Ok(self.get(&ImageReference::parse(name)?))
    }

    /// The image of a parsed name.
    pub fn get(&self, reference: &ImageReference) -> Arc<Image> {
        let mut made = self.made.lock();
        if made.len() > MAX_MADE {
            made.clear();
        }
        made.entry(reference.to_string()).or_insert_with(|| self.make(reference)).clone()
    }

    fn make(&self, reference: &ImageReference) -> Arc<Image> {
        let definition = self.definition(reference).unwrap_or(&self.unknown).clone();
        let base = if definition.userland { &self.userland } else { &self.bare };
        let mut files = ImageFiles::over(base.clone());
        for (path, content) in definition.files {
            files.file(&path, content);
        }
        programs::base::executables(&mut files, &definition.executables);
        if let Some(path) = definition.entrypoint.first().filter(|path| path.starts_with('/')) {
            files.add(path, Kind::Executable, 0o755);
        }
        let mut env = definition.env;
        if !env.iter().any(|(name, _)| name == "PATH") {
            env.insert(0, ("PATH".to_owned(), PATH.to_owned()));
        }
        let digest = reference.digest.clone().unwrap_or_else(|| digest(reference));
        Arc::new(Image {
            reference: reference.clone(),
            digest,
            entrypoint: definition.entrypoint,
            cmd: definition.cmd,
            env,
            working_dir: definition.working_dir,
            userland: definition.userland,
            commands: Arc::clone(&self.commands),
            executables: definition.executables,
            files: Arc::new(files),
            size_bytes: definition.size_bytes,
        })
    }
}

/// A stable digest: there is no content to hash but the name.
fn digest(reference: &ImageReference) -> String {
    let hash = ring::digest::digest(&ring::digest::SHA256, reference.to_string().as_bytes());
    let hex: String = hash.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{hex}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::program::{ContainerContext, ExitStatus};

    #[test]
    fn names_find_images() {
        let mut catalogue = ImageCatalogue::new();
        async fn mine(_: ContainerContext) -> ExitStatus {
            ExitStatus::SUCCESS
        }
        catalogue.register("example.com/mine:v1", mine).unwrap();
        let check = |name: &str, known: bool, argv: &[&str]| {
            let image = catalogue.resolve(name).unwrap();
            assert_eq!(catalogue.is_known(&image.reference), known, "{name}");
            assert_eq!(image.argv(&[], &[]), argv, "{name}");
        };
        check("example.com/mine:v1", true, &["/program"]);
        check("example.com/mine:v2", false, &["/program"]);
        check("nginx:1.27", true, &["/docker-entrypoint.sh", "nginx", "-g", "daemon off;"]);
        check("quay.io/acme/thing", false, &["/program"]);
        check("registry.k8s.io/pause:3.10", true, &["/pause"]);
    }

    #[test]
    fn command_and_args_follow_docker() {
        let image = ImageCatalogue::new().resolve("nginx").unwrap();
        let words = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        let check = |command: &str, args: &str, expected: &str| {
            let argv = image.argv(&words(command), &words(args)).join(" ");
            assert_eq!(argv, expected);
        };
        check("", "", "/docker-entrypoint.sh nginx -g daemon off;");
        check("", "nginx -t", "/docker-entrypoint.sh nginx -t");
        check("sleep", "", "sleep");
        check("sleep", "5", "sleep 5");
    }
}
