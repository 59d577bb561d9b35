//! From the tree to the types, with every error and not only the first.
//!
//! serde's derived code stops at its first error. Here an error also says which value is to blame; that value
//! is noted, hidden ("pruned") and the tree is read again, until nothing is wrong. Each round hides at least
//! one more value, so there are never more rounds than values, and [`MAX_PROBLEMS`] ends it sooner.

mod error;

use std::collections::HashSet;

use serde::Deserialize;
use serde::de::value::StringDeserializer;
use serde::de::{
    self, DeserializeSeed, Deserializer, EnumAccess, MapAccess, SeqAccess, VariantAccess, Visitor,
};

use self::error::{KIND, Path, ReadError, What, plain, short};
use crate::problem::Problem;
use crate::tree::{Entry, Node, Value};

/// The enum whose sections name their variant by the key [`KIND`], among the keys of the variant's own.
const BY_KIND: &str = "ForgeConfig";
/// After so many problems the rest is not worth reading.
const MAX_PROBLEMS: usize = 50;

/// What was read, and what was wrong. The value is missing only when nothing sensible is left of the tree.
pub(crate) struct Reading<T> {
    pub(crate) value: Option<T>,
    pub(crate) problems: Vec<Problem>,
    /// Ids of values that were left out because of a problem.
    pub(crate) pruned: HashSet<u32>,
}

/// Reads a `T`. `pruned` are values that were found to be wrong before.
pub(crate) fn read<T: for<'de> Deserialize<'de>>(root: &Node, mut pruned: HashSet<u32>) -> Reading<T> {
    let mut problems: Vec<Problem> = Vec::new();
    loop {
        let error = match T::deserialize(Reader::new(root, &pruned, &Path::Root)) {
            Ok(value) => return Reading { value: Some(value), problems, pruned },
            Err(error) => error,
        };
        let blamed = error.blamed;
        problems.extend(error.into_problem(root));
        match blamed {
            Some(id) if problems.len() < MAX_PROBLEMS && pruned.insert(id) => {}
            _ => return Reading { value: None, problems, pruned },
        }
    }
}

#[derive(Clone, Copy)]
struct Reader<'a> {
    node: &'a Node,
    pruned: &'a HashSet<u32>,
    path: &'a Path<'a>,
    /// The id of an entry's value that is no part of the section here, because it was read before.
    taken: Option<u32>,
}

impl<'a> Reader<'a> {
    const fn new(node: &'a Node, pruned: &'a HashSet<u32>, path: &'a Path<'a>) -> Self {
        Self { node, pruned, path, taken: None }
    }

    fn mismatch(&self, expected: &dyn de::Expected) -> ReadError {
        let expected = match expected.to_string().as_str() {
            "u8" | "u16" | "u32" | "u64" => "a whole number".to_owned(),
            other => plain(other),
        };
        let found = self.node.value.kind();
        ReadError::new(What::Mismatch { expected: format!("{expected}, not {found}") })
            .at(&self.node.span, self.path)
    }

    fn located(&self, error: ReadError) -> ReadError {
        error.at(&self.node.span, self.path)
    }

    fn leaf<'de, V: Visitor<'de>>(&self, visitor: V) -> Result<V::Value, ReadError> {
        match &self.node.value {
            Value::Null => visitor.visit_unit(),
            Value::Bool(value) => visitor.visit_bool(*value),
            Value::Signed(value) => visitor.visit_i64(*value),
            Value::Unsigned(value) => visitor.visit_u64(*value),
            Value::Float(value) => visitor.visit_f64(*value),
            Value::Text(value) => visitor.visit_str(value),
            Value::List(_) | Value::Map(_) => Err(self.mismatch(&visitor)),
        }
        .map_err(|error| self.located(error))
    }

    fn entries(&self, entries: &'a [Entry], fields: &'static [&'static str]) -> Entries<'a> {
        Entries { reader: *self, map: entries, next: 0, fields, seen: HashSet::new() }
    }
}

macro_rules! leaf {
    ($($method:ident => $variant:pat,)*) => {
        $(fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
            match self.node.value {
                $variant => self.leaf(visitor),
                _ => Err(self.mismatch(&visitor)),
            }
        })*
    };
}

impl<'de> Deserializer<'de> for Reader<'_> {
    type Error = ReadError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        match &self.node.value {
            Value::List(_) => self.deserialize_seq(visitor),
            Value::Map(entries) => {
                visitor.visit_map(self.entries(entries, &[])).map_err(|error| self.located(error))
            }
            // Values with their own form (durations, modes) come here, and so do wrong types for them.
            _ => self.leaf(visitor),
        }
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        match self.node.switch() {
            Some(value) => visitor.visit_bool(value).map_err(|error: ReadError| self.located(error)),
            None => Err(self.mismatch(&visitor)),
        }
    }

    leaf! {
        deserialize_u8 => Value::Unsigned(_) | Value::Signed(_),
        deserialize_u16 => Value::Unsigned(_) | Value::Signed(_),
        deserialize_u32 => Value::Unsigned(_) | Value::Signed(_),
        deserialize_u64 => Value::Unsigned(_) | Value::Signed(_),
        deserialize_i8 => Value::Unsigned(_) | Value::Signed(_),
        deserialize_i16 => Value::Unsigned(_) | Value::Signed(_),
        deserialize_i32 => Value::Unsigned(_) | Value::Signed(_),
        deserialize_i64 => Value::Unsigned(_) | Value::Signed(_),
        deserialize_f32 => Value::Float(_) | Value::Unsigned(_) | Value::Signed(_),
        deserialize_f64 => Value::Float(_) | Value::Unsigned(_) | Value::Signed(_),
        deserialize_char => Value::Text(_),
        deserialize_str => Value::Text(_),
        deserialize_string => Value::Text(_),
        deserialize_bytes => Value::Text(_),
        deserialize_byte_buf => Value::Text(_),
        deserialize_identifier => Value::Text(_),
        deserialize_unit => Value::Null,
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        match self.node.value {
            Value::Null => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(self, _: &str, visitor: V) -> Result<V::Value, ReadError> {
        self.deserialize_unit(visitor)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &str, visitor: V) -> Result<V::Value, ReadError> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        match &self.node.value {
            Value::List(items) => visitor
                .visit_seq(Items { reader: self, list: items, next: 0 })
                .map_err(|error| self.located(error)),
            _ => Err(self.mismatch(&visitor)),
        }
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, ReadError> {
        self.deserialize_seq(visitor)
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: usize,
        visitor: V,
    ) -> Result<V::Value, ReadError> {
        self.deserialize_seq(visitor)
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        match &self.node.value {
            Value::Map(entries) => {
                visitor.visit_map(self.entries(entries, &[])).map_err(|error| self.located(error))
            }
            _ => Err(self.mismatch(&visitor)),
        }
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ReadError> {
        let Value::Map(entries) = &self.node.value else {
            return Err(self.mismatch(&visitor));
        };
        visitor.visit_map(self.entries(entries, fields)).map_err(|mut error| {
            if let What::Missing(field) = error.what
                && error.span.is_none()
            {
                if let Some(entry) = entries.iter().find(|entry| entry.key == field) {
                    let path = Path::Key(self.path, field);
                    error.what = if self.pruned.contains(&entry.value.id) {
                        What::Consequence
                    } else {
                        What::Other("a value is missing after the colon".to_owned())
                    };
                    return error.at(&entry.key_span, &path);
                }
                // Only the first key is underlined, not the whole section.
                let first = entries.first().map_or(&self.node.span, |entry| &entry.key_span);
                return error.at(first, self.path);
            }
            self.located(error)
        })
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ReadError> {
        if name == BY_KIND {
            let kind = KindVariant::of(self, variants)?;
            return visitor.visit_enum(kind).map_err(|error| self.located(error));
        }
        match &self.node.value {
            Value::Text(text) => visitor.visit_enum(UnitVariant(text)).map_err(|error| self.located(error)),
            Value::Map(entries) if let [entry] = entries.as_slice() => visitor
                .visit_enum(SectionVariant { reader: self, entry })
                .map_err(|error| self.located(error)),
            other => {
                let message = format!("one of {}, not {}", variants.join(", "), other.kind());
                Err(self.located(ReadError::new(What::Mismatch { expected: message })))
            }
        }
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        visitor.visit_unit()
    }
}

struct Items<'a> {
    reader: Reader<'a>,
    list: &'a [Node],
    next: usize,
}

impl<'de> SeqAccess<'de> for Items<'_> {
    type Error = ReadError;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, ReadError> {
        while let Some(item) = self.list.get(self.next) {
            let path = Path::Index(self.reader.path, self.next);
            self.next += 1;
            if self.reader.pruned.contains(&item.id) {
                continue;
            }
            return seed
                .deserialize(Reader::new(item, self.reader.pruned, &path))
                .map(Some)
                .map_err(|error| error.at(&item.span, &path).blame(item.id));
        }
        Ok(None)
    }
}

struct Entries<'a> {
    reader: Reader<'a>,
    map: &'a [Entry],
    /// Index after the entry whose key was read last.
    next: usize,
    /// The keys of one of our own sections; none for free-form data.
    fields: &'static [&'static str],
    seen: HashSet<&'a str>,
}

impl<'de> MapAccess<'de> for Entries<'_> {
    type Error = ReadError;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, ReadError> {
        while let Some(entry) = self.map.get(self.next) {
            self.next += 1;
            if self.reader.pruned.contains(&entry.value.id) {
                continue;
            }
            if self.reader.taken == Some(entry.value.id) {
                self.seen.insert(&entry.key);
                continue;
            }
            let path = Path::Key(self.reader.path, &entry.key);
            let fail = |error: ReadError| error.at(&entry.key_span, &path).blame(entry.value.id);
            if !self.seen.insert(&entry.key) {
                return Err(fail(ReadError::new(What::Duplicate(entry.key.clone()))));
            }
            // `key:` without a value leaves the default, in our own sections; in free-form data it counts.
            if matches!(entry.value.value, Value::Null) && self.fields.contains(&entry.key.as_str()) {
                continue;
            }
            return seed.deserialize(StringDeserializer::new(entry.key.clone())).map(Some).map_err(fail);
        }
        Ok(None)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, ReadError> {
        let Some(entry) = self.next.checked_sub(1).and_then(|index| self.map.get(index)) else {
            return Err(de::Error::custom("a value was read before its key"));
        };
        let path = Path::Key(self.reader.path, &entry.key);
        seed.deserialize(Reader::new(&entry.value, self.reader.pruned, &path))
            .map_err(|error| error.at(&entry.value.span, &path).blame(entry.value.id))
    }
}

/// A plain name as an enum's variant, which carries no data.
struct UnitVariant<'a>(&'a str);

impl<'de> EnumAccess<'de> for UnitVariant<'_> {
    type Error = ReadError;
    type Variant = Self;

    fn variant_seed<V: DeserializeSeed<'de>>(self, seed: V) -> Result<(V::Value, Self), ReadError> {
        let value = seed.deserialize(StringDeserializer::<ReadError>::new(self.0.to_owned()))?;
        Ok((value, self))
    }
}

impl<'de> VariantAccess<'de> for UnitVariant<'_> {
    type Error = ReadError;

    fn unit_variant(self) -> Result<(), ReadError> {
        Ok(())
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, _: T) -> Result<T::Value, ReadError> {
        Err(de::Error::custom(format_args!("'{0}' has settings: write '{0}: {{…}}' with them", self.0)))
    }

    fn tuple_variant<V: Visitor<'de>>(self, _: usize, _: V) -> Result<V::Value, ReadError> {
        Err(de::Error::custom("this value cannot carry data"))
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        _: &'static [&'static str],
        _: V,
    ) -> Result<V::Value, ReadError> {
        Err(de::Error::custom("this value cannot carry data"))
    }
}

/// A section with one key as an enum's variant: the key names it, and its value is the variant's settings.
struct SectionVariant<'a> {
    reader: Reader<'a>,
    entry: &'a Entry,
}

impl<'de> EnumAccess<'de> for SectionVariant<'_> {
    type Error = ReadError;
    type Variant = Self;

    fn variant_seed<V: DeserializeSeed<'de>>(self, seed: V) -> Result<(V::Value, Self), ReadError> {
        if self.reader.pruned.contains(&self.entry.value.id) {
            return Err(ReadError::new(What::Consequence));
        }
        let name = StringDeserializer::<ReadError>::new(self.entry.key.clone());
        let fail = |error: ReadError| error.at(&self.entry.key_span, self.reader.path);
        Ok((seed.deserialize(name).map_err(fail)?, self))
    }
}

impl<'de> VariantAccess<'de> for SectionVariant<'_> {
    type Error = ReadError;

    fn unit_variant(self) -> Result<(), ReadError> {
        Err(de::Error::custom(format_args!(
            "'{}' has no settings: write just the word",
            short(&self.entry.key)
        )))
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value, ReadError> {
        let path = Path::Key(self.reader.path, &self.entry.key);
        let value = &self.entry.value;
        seed.deserialize(Reader::new(value, self.reader.pruned, &path))
            .map_err(|error| error.at(&value.span, &path).blame(value.id))
    }

    fn tuple_variant<V: Visitor<'de>>(self, _: usize, _: V) -> Result<V::Value, ReadError> {
        Err(de::Error::custom("this value is not a list"))
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        _: &'static [&'static str],
        _: V,
    ) -> Result<V::Value, ReadError> {
        Err(de::Error::custom("this value cannot be written as a section"))
    }
}

/// A section that says by its key [`KIND`] which variant the rest of it is.
struct KindVariant<'a> {
    reader: Reader<'a>,
    entry: &'a Entry,
    kind: &'a str,
}

impl<'a> KindVariant<'a> {
    fn of(reader: Reader<'a>, kinds: &'static [&'static str]) -> Result<Self, ReadError> {
        let list = kinds.join(", ");
        let Value::Map(entries) = &reader.node.value else {
            let found = reader.node.value.kind();
            let expected =
                format!("a section with '{KIND}: …' (one of {list}) and the keys of that kind, not {found}");
            return Err(reader.located(ReadError::new(What::Mismatch { expected })));
        };
        let Some(entry) = entries.iter().find(|entry| entry.key == KIND) else {
            // As for every missing key, only the first one is underlined.
            let first = entries.first().map_or(&reader.node.span, |entry| &entry.key_span);
            return Err(ReadError::new(What::Kindless { kinds: list }).at(first, reader.path));
        };
        let path = Path::Key(reader.path, KIND);
        match &entry.value.value {
            _ if reader.pruned.contains(&entry.value.id) => Err(ReadError::new(What::Consequence)),
            Value::Text(kind) if kinds.contains(&kind.as_str()) => Ok(Self { reader, entry, kind }),
            Value::Null => {
                Err(ReadError::new(What::Kindless { kinds: list }).at(&entry.key_span, reader.path))
            }
            other => {
                let found = match other {
                    Value::Text(kind) => format!("'{}'", short(kind)),
                    other => other.kind().to_owned(),
                };
                let expected = format!("one of {list}, not {found}");
                Err(ReadError::new(What::Mismatch { expected }).at(&entry.value.span, &path))
            }
        }
    }
}

impl<'de> EnumAccess<'de> for KindVariant<'_> {
    type Error = ReadError;
    type Variant = Self;

    fn variant_seed<V: DeserializeSeed<'de>>(self, seed: V) -> Result<(V::Value, Self), ReadError> {
        let name = StringDeserializer::<ReadError>::new(self.kind.to_owned());
        let path = Path::Key(self.reader.path, KIND);
        let value = &self.entry.value;
        Ok((seed.deserialize(name).map_err(|error| error.at(&value.span, &path))?, self))
    }
}

impl<'de> VariantAccess<'de> for KindVariant<'_> {
    type Error = ReadError;

    fn unit_variant(self) -> Result<(), ReadError> {
        Ok(())
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value, ReadError> {
        seed.deserialize(Reader { taken: Some(self.entry.value.id), ..self.reader })
    }

    fn tuple_variant<V: Visitor<'de>>(self, _: usize, _: V) -> Result<V::Value, ReadError> {
        Err(de::Error::custom("this value is not a list"))
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ReadError> {
        Reader { taken: Some(self.entry.value.id), ..self.reader }.deserialize_struct("", fields, visitor)
    }
}
