"""Lists of genes and operons, from files as they are written."""

import pytest

from basewise.data.gene_lists import read_gene_list, read_operons
from basewise.errors import DataError


def test_a_column_of_genes_with_their_other_names(tmp_path):
    path = tmp_path / "a.tsv"
    path.write_text("\ufeffgene\talias\nspo0A\t\nsigH\tspo0H\n\t\nspo0A\t\nspo0J\tparB/spo0JB\n")
    assert read_gene_list(path) == ["spo0A", "sigH", "spo0J"]
    assert read_gene_list(path, alias="alias") == ["spo0A", "sigH/spo0H", "spo0J/parB/spo0JB"]


def test_operons_as_subtiwiki_writes_them_and_plain(tmp_path):
    path = tmp_path / "o.csv"
    path.write_text(
        '"operon","genes"\n"[[gene|a]]→[[gene|c]]","[[gene|a]]-[[gene|b-1]]-[[gene|c]]"\n'
        '"","[[gene|rosA]]"\n'
    )
    path.write_text(path.read_text() + '"","[[gene|a]]-[[gene|x]]-[[gene|c]]"\n')
    assert read_operons(path) == {
        "a-c": ["a", "b-1", "c"],
        "rosA": ["rosA"],
        "a-x-c": ["a", "x", "c"],
    }
    path = tmp_path / "o.tsv"
    path.write_text("operon\tgenes\nx\tyokI;yokJ yokK\n")
    assert read_operons(path) == {"yokI-yokK": ["yokI", "yokJ", "yokK"]}


@pytest.mark.parametrize(
    "text, read, said",
    [
        ("", read_gene_list, "is empty; a line with the names of columns is needed"),
        ("genes,x\na,b\n", read_gene_list, "has no column 'gene'. Did you mean 'genes'"),
        ("gene,x\n,b\n", read_gene_list, "the column 'gene' holds no name"),
        ("operon,gene\na,b\n", read_operons, "has no column 'genes'. Did you mean 'gene'"),
        ("operon,genes\na,;\n", read_operons, r"line 2: the operon ';' names no gene"),
        ("operon,genes\n", read_operons, "holds no operons"),
    ],
)
def test_what_cannot_be_read_is_said(tmp_path, text, read, said):
    path = tmp_path / "x.csv"
    path.write_text(text)
    with pytest.raises(DataError, match=said):
        read(path)
