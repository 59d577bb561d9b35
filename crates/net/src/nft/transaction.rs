//! A transaction: changes that the kernel takes or refuses together. Each says what shall be rather than what to change,
//! so that it may be repeated.

use std::io;

use super::rule::{Part, lookup};
use super::set::{NFT_SET_ANONYMOUS, NFT_SET_CONSTANT, NFT_SET_INTERVAL, NFT_SET_MAP};
use super::{
    Family, Key, NFNL_SUBSYS_NFTABLES, NFT_MSG_DELCHAIN, NFT_MSG_DELRULE, NFT_MSG_DELSETELEM,
    NFT_MSG_DELTABLE, NFT_MSG_NEWCHAIN, NFT_MSG_NEWRULE, NFT_MSG_NEWSET, NFT_MSG_NEWSETELEM,
    NFT_MSG_NEWTABLE, NFTA_CHAIN_HOOK, NFTA_CHAIN_NAME, NFTA_CHAIN_POLICY, NFTA_CHAIN_TABLE, NFTA_CHAIN_TYPE,
    NFTA_DATA_VALUE, NFTA_EXPR_DATA, NFTA_EXPR_NAME, NFTA_HOOK_HOOKNUM, NFTA_HOOK_PRIORITY, NFTA_LIST_ELEM,
    NFTA_RULE_CHAIN, NFTA_RULE_EXPRESSIONS, NFTA_RULE_TABLE, NFTA_SET_DATA_LEN, NFTA_SET_DATA_TYPE,
    NFTA_SET_DESC, NFTA_SET_DESC_SIZE, NFTA_SET_ELEM_DATA, NFTA_SET_ELEM_KEY, NFTA_SET_ELEM_LIST_ELEMENTS,
    NFTA_SET_ELEM_LIST_SET, NFTA_SET_ELEM_LIST_SET_ID, NFTA_SET_ELEM_LIST_TABLE, NFTA_SET_FLAGS, NFTA_SET_ID,
    NFTA_SET_KEY_LEN, NFTA_SET_KEY_TYPE, NFTA_SET_NAME, NFTA_SET_TABLE, NFTA_SET_USERDATA, NFTA_TABLE_NAME,
    Rule, Set, Verdict,
};
use crate::netfilter::{
    Attributes, Channel, Message, NFGENMSG, NLM_F_ACK, NLM_F_APPEND, NLM_F_CREATE, NLM_F_REQUEST, messages,
    push, text,
};

/// The data type of a map's verdicts (`NFT_DATA_VERDICT`).
const VERDICTS: u32 = 0xffff_ff00;
/// The kernel numbers the sets of rules.
const ANONYMOUS: &str = "__set%d";
/// `NF_ACCEPT`.
const POLICY_ACCEPT: u32 = 1;
/// Where a message has its flags.
const FLAGS: usize = 6;

/// Where a base chain is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Hook {
    /// `filter` or `nat`.
    pub(crate) kind: &'static str,
    /// The hook's number: `NF_INET_*`, which are those of bridges, too.
    pub(crate) number: u32,
    pub(crate) priority: i32,
}

impl Hook {
    pub(crate) const PREROUTING: u32 = 0;
    pub(crate) const INPUT: u32 = 1;
    pub(crate) const FORWARD: u32 = 2;
    pub(crate) const POSTROUTING: u32 = 4;
}

/// Changes of the tables of one name, one in each family.
#[derive(Debug, Clone)]
pub(crate) struct Transaction {
    table: String,
    messages: Vec<u8>,
    /// Where the last one begins.
    last: usize,
    count: u32,
    sets: u32,
}

impl Transaction {
    pub(crate) fn new(table: &str) -> Self {
        Self { table: table.into(), messages: Vec::new(), last: 0, count: 0, sets: 0 }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.messages.is_empty()
    }

    pub(crate) fn add_table(&mut self, family: Family) {
        let attributes = self.named(NFTA_TABLE_NAME);
        self.push(NFT_MSG_NEWTABLE, NLM_F_CREATE, family, &attributes);
    }

    pub(crate) fn delete_table(&mut self, family: Family) {
        let attributes = self.named(NFTA_TABLE_NAME);
        self.push(NFT_MSG_DELTABLE, 0, family, &attributes);
    }

    /// A map of verdicts.
    pub(crate) fn add_map(&mut self, family: Family, name: &str, key: Key) {
        let id = self.next_set();
        let mut attributes = self.named(NFTA_SET_TABLE);
        attributes.text(NFTA_SET_NAME, name).be32(NFTA_SET_FLAGS, NFT_SET_MAP);
        attributes.be32(NFTA_SET_KEY_TYPE, key.number()).be32(NFTA_SET_KEY_LEN, key.length());
        attributes.be32(NFTA_SET_DATA_TYPE, VERDICTS).be32(NFTA_SET_DATA_LEN, 0).be32(NFTA_SET_ID, id);
        attributes.bytes(NFTA_SET_USERDATA, &key.userdata(true));
        self.push(NFT_MSG_NEWSET, NLM_F_CREATE, family, &attributes);
    }

    pub(crate) fn add_chain(&mut self, family: Family, chain: &str, hook: Option<Hook>) {
        let mut attributes = self.named(NFTA_CHAIN_TABLE);
        attributes.text(NFTA_CHAIN_NAME, chain);
        if let Some(hook) = hook {
            attributes.text(NFTA_CHAIN_TYPE, hook.kind).be32(NFTA_CHAIN_POLICY, POLICY_ACCEPT);
            attributes.nest(NFTA_CHAIN_HOOK, |data| {
                data.be32(NFTA_HOOK_HOOKNUM, hook.number);
                data.be32(NFTA_HOOK_PRIORITY, hook.priority.cast_unsigned());
            });
        }
        self.push(NFT_MSG_NEWCHAIN, NLM_F_CREATE, family, &attributes);
    }

    /// Removes the rules of a chain.
    pub(crate) fn flush_chain(&mut self, family: Family, chain: &str) {
        let mut attributes = self.named(NFTA_RULE_TABLE);
        attributes.text(NFTA_RULE_CHAIN, chain);
        self.push(NFT_MSG_DELRULE, 0, family, &attributes);
    }

    pub(crate) fn delete_chain(&mut self, family: Family, chain: &str) {
        let mut attributes = self.named(NFTA_CHAIN_TABLE);
        attributes.text(NFTA_CHAIN_NAME, chain);
        self.push(NFT_MSG_DELCHAIN, 0, family, &attributes);
    }

    /// Adds a rule behind the others.
    pub(crate) fn add_rule(&mut self, chain: &str, rule: &Rule) {
        let family = rule.family;
        let mut sets = Vec::new();
        for part in &rule.parts {
            if let Part::Among(set) | Part::NotAmong(set) = part {
                sets.push(self.add_set(family, set));
            }
        }
        let mut sets = sets.into_iter();
        let mut attributes = self.named(NFTA_RULE_TABLE);
        attributes.text(NFTA_RULE_CHAIN, chain);
        attributes.nest(NFTA_RULE_EXPRESSIONS, |list| {
            for part in &rule.parts {
                let looked_up;
                let (name, data) = match part {
                    Part::Expression(name, data) => (*name, data),
                    Part::Among(_) | Part::NotAmong(_) => {
                        let inverted = matches!(part, Part::NotAmong(_));
                        looked_up = lookup(ANONYMOUS, sets.next().unwrap_or_default(), inverted);
                        ("lookup", &looked_up)
                    }
                };
                list.nest(NFTA_LIST_ELEM, |expression| {
                    expression.text(NFTA_EXPR_NAME, name).nested(NFTA_EXPR_DATA, data);
                });
            }
        });
        self.push(NFT_MSG_NEWRULE, NLM_F_CREATE | NLM_F_APPEND, family, &attributes);
    }

    /// A set that belongs to the next rule, with its elements. Its number.
    fn add_set(&mut self, family: Family, set: &Set) -> u32 {
        let id = self.next_set();
        let mut attributes = self.named(NFTA_SET_TABLE);
        let ranges = if set.ranges { NFT_SET_INTERVAL } else { 0 };
        attributes.text(NFTA_SET_NAME, ANONYMOUS);
        attributes.be32(NFTA_SET_FLAGS, NFT_SET_ANONYMOUS | NFT_SET_CONSTANT | ranges);
        attributes.be32(NFTA_SET_KEY_TYPE, set.key.number()).be32(NFTA_SET_KEY_LEN, set.key.length());
        attributes.be32(NFTA_SET_ID, id);
        attributes.nest(NFTA_SET_DESC, |desc| {
            desc.be32(NFTA_SET_DESC_SIZE, u32::try_from(set.len()).unwrap_or(u32::MAX));
        });
        attributes.bytes(NFTA_SET_USERDATA, &set.key.userdata(false));
        self.push(NFT_MSG_NEWSET, NLM_F_CREATE, family, &attributes);
        for elements in set.lists() {
            let mut attributes = self.named(NFTA_SET_ELEM_LIST_TABLE);
            attributes.text(NFTA_SET_ELEM_LIST_SET, ANONYMOUS).be32(NFTA_SET_ELEM_LIST_SET_ID, id);
            attributes.nest(NFTA_SET_ELEM_LIST_ELEMENTS, elements);
            self.push(NFT_MSG_NEWSETELEM, NLM_F_CREATE, family, &attributes);
        }
        id
    }

    /// Makes a map lead from a key to a chain.
    pub(crate) fn add_element(&mut self, family: Family, map: &str, key: &[u8], chain: &str) {
        let attributes = self.element(map, key, Some(chain));
        self.push(NFT_MSG_NEWSETELEM, NLM_F_CREATE, family, &attributes);
    }

    pub(crate) fn delete_element(&mut self, family: Family, map: &str, key: &[u8]) {
        let attributes = self.element(map, key, None);
        self.push(NFT_MSG_DELSETELEM, 0, family, &attributes);
    }

    fn element(&self, map: &str, key: &[u8], chain: Option<&str>) -> Attributes {
        let mut attributes = self.named(NFTA_SET_ELEM_LIST_TABLE);
        attributes.text(NFTA_SET_ELEM_LIST_SET, map);
        attributes.nest(NFTA_SET_ELEM_LIST_ELEMENTS, |list| {
            list.nest(NFTA_LIST_ELEM, |element| {
                element.nest_bytes(NFTA_SET_ELEM_KEY, NFTA_DATA_VALUE, key);
                if let Some(chain) = chain {
                    element.nest(NFTA_SET_ELEM_DATA, |data| Verdict::Jump(chain).write(data));
                }
            });
        });
        attributes
    }

    fn named(&self, kind: u16) -> Attributes {
        let mut attributes = Attributes::default();
        attributes.text(kind, &self.table);
        attributes
    }

    fn next_set(&mut self) -> u32 {
        self.sets += 1;
        self.sets
    }

    fn push(&mut self, kind: u16, flags: u16, family: Family, attributes: &Attributes) {
        self.last = self.messages.len();
        let kind = NFNL_SUBSYS_NFTABLES << 8 | kind;
        let to = (family.number(), 0);
        push(&mut self.messages, kind, NLM_F_REQUEST | flags, self.count, to, attributes);
        self.count += 1;
    }

    /// Makes the changes, or none and says which one was refused. Waits for other transactions.
    pub(crate) fn commit(mut self, channel: &Channel) -> Result<(), Refused> {
        if let Some([low, high]) = self.messages.get_mut(self.last + FLAGS..self.last + FLAGS + 2) {
            let flags = u16::from_ne_bytes([*low, *high]) | NLM_F_ACK;
            [*low, *high] = flags.to_ne_bytes();
        }
        channel.transact(NFNL_SUBSYS_NFTABLES, &self.messages).map_err(|refusal| {
            let asked = messages(&self.messages).find(|message| message.sequence == refusal.message);
            Refused { what: asked.map(about).unwrap_or_default(), source: refusal.source }
        })
    }
}

/// A transaction that the kernel did not take.
#[derive(Debug, thiserror::Error)]
#[error("{what}: {source}")]
pub(crate) struct Refused {
    what: String,
    pub(crate) source: io::Error,
}

/// What a message asks, for people.
fn about(message: Message<'_>) -> String {
    let attributes = message.payload.get(NFGENMSG..).unwrap_or_default();
    let (what, name) = match message.kind & 0xff {
        NFT_MSG_NEWTABLE => ("add table", NFTA_TABLE_NAME),
        NFT_MSG_DELTABLE => ("delete table", NFTA_TABLE_NAME),
        NFT_MSG_NEWCHAIN => ("add chain", NFTA_CHAIN_NAME),
        NFT_MSG_DELCHAIN => ("delete chain", NFTA_CHAIN_NAME),
        NFT_MSG_NEWRULE => ("add a rule to chain", NFTA_RULE_CHAIN),
        NFT_MSG_DELRULE => ("flush chain", NFTA_RULE_CHAIN),
        NFT_MSG_NEWSET => ("add set", NFTA_SET_NAME),
        NFT_MSG_NEWSETELEM => ("add elements to", NFTA_SET_ELEM_LIST_SET),
        _ => ("delete elements of", NFTA_SET_ELEM_LIST_SET),
    };
    format!("{what} '{}'", text(attributes, name).unwrap_or_default())
}
