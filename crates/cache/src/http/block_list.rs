//! Azure's list of blocks: `<BlockList><Latest>ID</Latest>…</BlockList>`, with `Committed` and `Uncommitted` for the same
//! here. Only what clients send of XML is understood, and everything else is refused.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

use crate::CacheError;
use crate::limits::BLOCKS;
use crate::upload::BlockId;

/// Longest list, in bytes: as many blocks as there may be, each with its longest name.
pub(super) const LONGEST: usize = BLOCKS * 128;

/// A block's name: base64 of at most 64 bytes.
pub(super) fn id(text: &str) -> Result<BlockId, CacheError> {
    let decoded = BASE64_STANDARD.decode(text).ok().filter(|id| (1..=64).contains(&id.len()));
    let decoded = decoded
        .ok_or_else(|| CacheError::Invalid("a block's name is not base64 of 1 to 64 bytes".to_owned()))?;
    // As it was sent or not: two spellings of the same bytes are one name.
    Ok(BASE64_STANDARD.encode(decoded))
}

/// The blocks' names, in order.
pub(super) fn parse(text: &str) -> Result<Vec<BlockId>, CacheError> {
    let wrong = || CacheError::Invalid("the block list is not as Azure's clients send it".to_owned());
    let mut rest = text.trim_start_matches('\u{feff}').trim();
    if let Some(declaration) = rest.strip_prefix("<?xml") {
        rest = declaration.split_once("?>").ok_or_else(wrong)?.1.trim_start();
    }
    // Empty, it is a single tag.
    if matches!(rest, "<BlockList/>" | "<BlockList />") {
        return Ok(Vec::new());
    }
    let inside = rest.strip_prefix("<BlockList>").and_then(|rest| rest.strip_suffix("</BlockList>"));
    let mut rest = inside.ok_or_else(wrong)?.trim();
    let mut ids = Vec::new();
    while !rest.is_empty() {
        if ids.len() == BLOCKS {
            return Err(CacheError::TooMany(format!("{BLOCKS} blocks of an upload")));
        }
        let (name, after) = rest.strip_prefix('<').and_then(|rest| rest.split_once('>')).ok_or_else(wrong)?;
        if !matches!(name, "Latest" | "Committed" | "Uncommitted") {
            return Err(wrong());
        }
        let (id, after) = after.split_once('<').ok_or_else(wrong)?;
        let after = after.strip_prefix('/').and_then(|after| after.strip_prefix(name));
        rest = after.and_then(|after| after.strip_prefix('>')).ok_or_else(wrong)?.trim_start();
        ids.push(self::id(id.trim())?);
    }
    Ok(ids)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn lists_are_as_clients_send_them() {
        let sent = "<?xml version=\"1.0\" encoding=\"UTF-8\" standalone=\"yes\"?>\n<BlockList>\n <Latest>YQ==</Latest><Uncommitted>Yg==</Uncommitted>\n</BlockList>";
        assert_eq!(parse(sent).unwrap(), ["YQ==", "Yg=="]);
        assert_eq!(parse("<BlockList/>").unwrap(), Vec::<String>::new());
        assert_eq!(parse("\u{feff}<BlockList></BlockList>").unwrap(), Vec::<String>::new());
        for wrong in [
            "",
            "<BlockList>",
            "<BlockList><Latest>YQ==</Committed></BlockList>",
            "<BlockList><Latest>YQ==</BlockList>",
            "<BlockList><Latest></Latest></BlockList>",
            "<BlockList><Latest>&#89;Q==</Latest></BlockList>",
            "<BlockList><Other>YQ==</Other></BlockList>",
            "<!DOCTYPE x [<!ENTITY e SYSTEM 'file:///etc/passwd'>]><BlockList><Latest>&e;</Latest></BlockList>",
        ] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_judged_without_panic(text in ".{0,80}", tags in "(<\\??/?(BlockList|Latest|xml)[/?]?>|YQ==|<|>|\u{feff}| ){0,12}") {
            let _ = (parse(&text), parse(&tags), id(&text));
        }

        #[test]
        fn names_come_back_in_order(ids in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..64), 0..20)) {
            let ids: Vec<_> = ids.iter().map(|id| BASE64_STANDARD.encode(id)).collect();
            let tags: Vec<_> = ids.iter().map(|id| format!("<Latest>{id}</Latest>")).collect();
            let tags = tags.concat();
            prop_assert_eq!(parse(&format!("<BlockList>{tags}</BlockList>")).unwrap(), ids);
        }
    }
}
