"""Which files of a tabular extract a mapping sees, and how: a part of the contract."""

from typing import Literal, Self

from pydantic import BaseModel, Field, model_validator

from integrations.asking import STRICT


class TabularInput(BaseModel):
    """Files of a tabular extract that mapping SQL sees as one relation of texts; a null word stands for nothing.

    record: what one record is, a `line`, or the whole `file`: then the relation has record_id, the file's name without
    folder and ending, and no column of its lines; a `line_of_file` is a line of such a file. columns: those that are
    read, by name and in any order; a file that lacks one is refused, one that is a record is set aside.
    is_optional: an extract may come without any of the files.
    """

    model_config = STRICT

    files: tuple[str, ...] = Field(min_length=1)
    delimiter: str = Field(",", min_length=1, max_length=1)
    encoding: Literal["utf-8", "windows-1252", "latin-1"] = "utf-8"
    null_words: tuple[str, ...] = ("",)
    record: Literal["line", "file", "line_of_file"] = "line"
    columns: tuple[str, ...] = ()
    is_optional: bool = False

    @model_validator(mode="after")
    def _name_what_is_read(self) -> Self:
        if not self.columns and (self.is_optional or self.record != "line"):
            raise ValueError("columns: name those that are read, where files may be absent or are records")
        return self
