"""The LaTeX tables through a real LaTeX, where one is installed."""

import shutil
import subprocess
from pathlib import Path

import pytest

from reports.ablation_latex import latex
from reports.report import write_report
from reports.runs import read_runs
from tests.reports.arms import found
from tests.reports.test_ablation_latex import five_arms

pytestmark = pytest.mark.skipif(
    shutil.which("pdflatex") is None, reason="no pdflatex here (Debian: texlive-latex-recommended)"
)

DOCUMENT = r"""\documentclass{article}
\usepackage{booktabs}
\begin{document}
\input{%s}
\end{document}
"""


def compiled(table: Path) -> str:
    """What LaTeX printed; it must have made a page."""
    (table.parent / "document.tex").write_text(DOCUMENT % table.name)
    done = subprocess.run(
        ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "document.tex"],
        cwd=table.parent,
        capture_output=True,
        check=False,
    )
    said = done.stdout.decode(errors="replace")
    assert done.returncode == 0, said[-2000:]
    return said


def test_a_report_compiles_with_booktabs_alone(toy_runs, tmp_path) -> None:
    write_report(read_runs([toy_runs]), tmp_path)
    assert "Output written" in compiled(tmp_path / "report.tex")


def test_an_ablation_compiles_with_booktabs_alone(tmp_path) -> None:
    (tmp_path / "ablation.tex").write_text(latex(found()))
    assert "Output written" in compiled(tmp_path / "ablation.tex")


def test_an_ablation_of_five_arms_fits_the_page(tmp_path) -> None:
    (tmp_path / "ablation.tex").write_text(latex(five_arms()))
    assert "Overfull" not in compiled(tmp_path / "ablation.tex")
