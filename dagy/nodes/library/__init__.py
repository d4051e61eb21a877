"""The nodes that come with Dagy.

Importing this registers them all; what each of them needs is imported when it is executed.

    from dagy.nodes.library import Filter, ReadCsv
"""

from __future__ import annotations

from dagy.nodes.library.code import PythonCode
from dagy.nodes.library.control import Branch, Flatten, ForEach, Merge, Switch
from dagy.nodes.library.conversions import (
    ParseJson,
    Pick,
    ToBoolean,
    ToBytes,
    ToDataframe,
    ToDatetime,
    ToFile,
    ToInteger,
    ToJsonText,
    ToList,
    ToNumber,
    ToObject,
    ToRecords,
    ToText,
)
from dagy.nodes.library.databases import ReadSql, WriteSql
from dagy.nodes.library.files import (
    ReadCsv,
    ReadExcel,
    ReadJson,
    ReadParquet,
    WriteCsv,
    WriteExcel,
    WriteJson,
    WriteParquet,
)
from dagy.nodes.library.frames import Aggregate, DropDuplicates, FillMissing, Filter, Join, Limit, Sample, Select, Sort
from dagy.nodes.library.objects import ReadS3, WriteS3
from dagy.nodes.library.requests import HttpRequest, NotifyWebhook
from dagy.nodes.library.templates import Template
from dagy.nodes.library.waiting import Wait

__all__ = [
    "Aggregate",
    "Branch",
    "DropDuplicates",
    "FillMissing",
    "Filter",
    "Flatten",
    "ForEach",
    "HttpRequest",
    "Join",
    "Limit",
    "Merge",
    "NotifyWebhook",
    "ParseJson",
    "Pick",
    "PythonCode",
    "ReadCsv",
    "ReadExcel",
    "ReadJson",
    "ReadParquet",
    "ReadS3",
    "ReadSql",
    "Sample",
    "Select",
    "Sort",
    "Switch",
    "Template",
    "ToBoolean",
    "ToBytes",
    "ToDataframe",
    "ToDatetime",
    "ToFile",
    "ToInteger",
    "ToJsonText",
    "ToList",
    "ToNumber",
    "ToObject",
    "ToRecords",
    "ToText",
    "Wait",
    "WriteCsv",
    "WriteExcel",
    "WriteJson",
    "WriteParquet",
    "WriteS3",
    "WriteSql",
]
