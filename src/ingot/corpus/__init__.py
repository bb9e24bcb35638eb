"""Raw text to token shards, and token shards to training windows."""

from ingot.corpus.baseline import compressed_bits_per_byte
from ingot.corpus.build import build_corpus, sources_fingerprint
from ingot.corpus.config import CorpusConfig, make_config
from ingot.corpus.corpus import Corpus, open_corpus
from ingot.corpus.documents import Document, iter_documents
from ingot.corpus.manifest import (
    BaselineRecord,
    CorpusManifest,
    ShardRecord,
    SideRecord,
    SkippedRecord,
    SourceRecord,
    SplitRecord,
)
from ingot.corpus.mixing import parse_mix
from ingot.corpus.prefetch import PrefetchingSampler
from ingot.corpus.progress import Progress, ProgressCallback
from ingot.corpus.report import ReadReport, Reason
from ingot.corpus.sampler import Sampler
from ingot.corpus.segments import segments_of
from ingot.corpus.shards import Part, Shard, TokenStore
from ingot.corpus.sources import find_files

__all__ = [
    "BaselineRecord",
    "Corpus",
    "CorpusConfig",
    "CorpusManifest",
    "Document",
    "Part",
    "PrefetchingSampler",
    "Progress",
    "ProgressCallback",
    "ReadReport",
    "Reason",
    "Sampler",
    "Shard",
    "ShardRecord",
    "SideRecord",
    "SkippedRecord",
    "SourceRecord",
    "SplitRecord",
    "TokenStore",
    "build_corpus",
    "compressed_bits_per_byte",
    "find_files",
    "iter_documents",
    "make_config",
    "open_corpus",
    "parse_mix",
    "segments_of",
    "sources_fingerprint",
]
