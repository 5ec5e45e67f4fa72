//! The options that choose who proposes and who values, and the models behind them.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use clap::{Args, ValueEnum};

use super::run::SearchArgs;
use super::{CliError, Exit};
use crate::critic::{
    Critic, CriticMode, LexicalCritic, LlmCritic, LlmCriticConfig, PairwiseCritic,
};
use crate::llm::{Cassette, ChatModel, Mode, OpenAi, OpenAiConfig};
use crate::policy::{LexicalPolicy, LlmPolicy, LlmPolicyConfig, Policy};

/// Who proposes actions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum PolicyKind {
    /// Overlap of words between the goal and the page; no model.
    Lexical,
    /// The language model.
    Llm,
}

/// Who values states.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum CriticKind {
    /// Overlap of words and progress; no model.
    Lexical,
    /// The language model: mean of several short verdicts.
    Rubric,
    /// The language model: expected score from the log-probabilities of one token.
    Logprob,
    /// The language model: which of two states is nearer the goal; values none (dfsdt --ranked).
    Pairwise,
}

/// Which model, and where.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Model")]
pub(super) struct EndpointArgs {
    /// Name of the model at an OpenAI-compatible endpoint.
    #[arg(long, env = "BRANCHLINE_MODEL", value_name = "NAME")]
    pub model: Option<String>,
    /// The endpoint, with or without /v1.
    #[arg(
        long,
        env = "BRANCHLINE_BASE_URL",
        value_name = "URL",
        default_value = "https://api.openai.com/v1"
    )]
    pub base_url: String,
    /// The environment variable that holds the key (never the key itself).
    #[arg(long, value_name = "VAR", default_value = "OPENAI_API_KEY")]
    pub key_env: String,
    /// An extra request header, `name=value`; a value `env:VAR` is read from the environment.
    #[arg(long = "header", value_name = "NAME=VALUE")]
    pub headers: Vec<String>,
    /// Longest wait for one reply, in seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 300)]
    pub model_timeout: u64,
    /// Replay model replies from this file; with --record-cassette, add what is missing to it.
    #[arg(long, value_name = "FILE")]
    pub cassette: Option<PathBuf>,
    /// Ask the endpoint for what the cassette does not hold.
    #[arg(long, requires = "cassette")]
    pub record_cassette: bool,
}

/// Options of policy, critic and model.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Policy and critic")]
pub(super) struct ModelArgs {
    /// Who proposes actions [default: llm if --model is given, else lexical].
    #[arg(long, value_enum)]
    pub policy: Option<PolicyKind>,
    /// Who values states [default: rubric if --model is given (pairwise with --ranked), else
    /// lexical].
    #[arg(long, value_enum)]
    pub critic: Option<CriticKind>,
    /// Let one step hold several independent calls of tools, where the environment can carry them
    /// out together.
    #[arg(long)]
    pub parallel_calls: bool,
    /// Verdicts that the rubric critic averages.
    #[arg(long, value_name = "N", default_value_t = 3)]
    pub critic_samples: u32,
    /// Most tokens of a page in the policy's and critic's prompts.
    #[arg(long, value_name = "TOKENS", default_value_t = 2000)]
    pub page_tokens: u32,
    #[command(flatten)]
    pub endpoint: EndpointArgs,
}

/// The chosen parts.
pub(super) struct Parts {
    pub policy: Arc<dyn Policy>,
    pub critic: Arc<dyn Critic>,
    /// The model, if one is used.
    pub chat: Option<Arc<dyn ChatModel>>,
    /// Its name.
    pub model: Option<String>,
    /// Values that must never be written.
    pub secrets: Vec<String>,
}

impl EndpointArgs {
    /// Whether there is a model to ask: an endpoint's, or a cassette's.
    pub(super) fn named(&self) -> bool {
        self.model.is_some() || self.cassette.is_some()
    }

    /// The endpoint's configuration; `None` without a model.
    pub(super) fn config(&self) -> Result<Option<OpenAiConfig>, CliError> {
        let Some(model) = &self.model else {
            return Ok(None);
        };
        let mut headers = BTreeMap::new();
        for header in &self.headers {
            let Some((name, value)) = header.split_once('=') else {
                return Err(
                    CliError::new(Exit::Usage, format!("--header {header} has no `=`"))
                        .hint("write --header name=value, or --header name=env:VAR"),
                );
            };
            headers.insert(name.trim().to_owned(), value.trim().to_owned());
        }
        Ok(Some(OpenAiConfig {
            base_url: self.base_url.clone(),
            model: model.clone(),
            key_env: self.key_env.clone(),
            headers,
            timeout_ms: self.model_timeout.saturating_mul(1000),
            ..OpenAiConfig::default()
        }))
    }

    /// Values of the environment that must not reach the record.
    pub(super) fn secrets(&self) -> Vec<String> {
        let of_headers = self.headers.iter().filter_map(|header| {
            let (_, value) = header.split_once('=')?;
            match value.trim().strip_prefix("env:") {
                Some(name) => std::env::var(name).ok(),
                None => Some(value.trim().to_owned()),
            }
        });
        std::env::var(&self.key_env)
            .into_iter()
            .chain(of_headers)
            .collect()
    }

    /// The model: the endpoint's, or a cassette's.
    ///
    /// # Errors
    /// No model is named, or the cassette cannot be opened.
    pub(super) fn chat(&self) -> Result<Arc<dyn ChatModel>, CliError> {
        let live = |config: OpenAiConfig| -> Result<Arc<dyn ChatModel>, CliError> {
            let model = OpenAi::new(config).map_err(|error| {
                CliError::new(Exit::Usage, error)
                    .hint("`branchline doctor --model NAME --base-url URL` tries the endpoint")
            })?;
            Ok(Arc::new(model))
        };
        let Some(path) = &self.cassette else {
            let config = self.config()?.ok_or_else(|| {
                CliError::new(Exit::Usage, "no model is named: this needs --model")
                    .hint("--model NAME --base-url URL, with the key in OPENAI_API_KEY")
            })?;
            return live(config);
        };
        let mode = if self.record_cassette {
            let config = self
                .config()?
                .ok_or_else(|| CliError::new(Exit::Usage, "--record-cassette needs --model"))?;
            Mode::Record(live(config)?)
        } else {
            Mode::Replay
        };
        let cassette =
            Cassette::open(path, mode).map_err(|error| CliError::new(Exit::Usage, error))?;
        Ok(Arc::new(cassette))
    }
}

impl ModelArgs {
    fn policy_kind(&self) -> PolicyKind {
        let default = if self.endpoint.model.is_some() {
            PolicyKind::Llm
        } else {
            PolicyKind::Lexical
        };
        self.policy.unwrap_or(default)
    }

    fn critic_kind(&self, ranked: bool) -> CriticKind {
        let default = match (self.endpoint.model.is_some(), ranked) {
            (true, true) => CriticKind::Pairwise,
            (true, false) => CriticKind::Rubric,
            (false, _) => CriticKind::Lexical,
        };
        self.critic.unwrap_or(default)
    }

    /// Builds policy and critic for a search.
    pub(super) fn parts(&self, search: &SearchArgs) -> Result<Parts, CliError> {
        let (policy, critic) = (self.policy_kind(), self.critic_kind(search.ranked));
        let llm = policy == PolicyKind::Llm || critic != CriticKind::Lexical;
        let chat = if llm {
            Some(self.endpoint.chat()?)
        } else {
            None
        };
        let model = chat.as_ref().map(|chat| chat.name().to_owned());
        let known = chat.clone();
        let chat = || {
            chat.clone()
                .expect("made above for every part that uses it")
        };
        let policy: Arc<dyn Policy> = match policy {
            PolicyKind::Lexical => Arc::new(LexicalPolicy::default()),
            PolicyKind::Llm => {
                let config = LlmPolicyConfig {
                    page_tokens: self.page_tokens,
                    // What is compatible asks for a thought with each call, and repeats itself.
                    reasons: search.compat.is_some(),
                    repeats: search.compat.is_some(),
                    parallel: self.parallel_calls,
                    ..LlmPolicyConfig::default()
                };
                Arc::new(LlmPolicy::new(chat(), config))
            }
        };
        let llm_critic = |mode| -> Arc<dyn Critic> {
            Arc::new(LlmCritic::new(
                chat(),
                LlmCriticConfig {
                    mode,
                    samples: self.critic_samples,
                    page_tokens: self.page_tokens,
                    ..LlmCriticConfig::default()
                },
            ))
        };
        let critic = match critic {
            CriticKind::Lexical => Arc::new(LexicalCritic::default()),
            CriticKind::Rubric => llm_critic(CriticMode::Rubric),
            CriticKind::Logprob => llm_critic(CriticMode::Logprob),
            CriticKind::Pairwise => Arc::new(PairwiseCritic::new(chat(), self.page_tokens)),
        };
        Ok(Parts {
            policy,
            critic,
            chat: known,
            model,
            secrets: self.endpoint.secrets(),
        })
    }
}
