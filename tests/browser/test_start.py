"""The first notebook, as a newcomer meets it."""

from playwright.sync_api import expect


def test_start_notebook(lab, screenshot):
    lab.open("start.ipynb")
    lab.run_all()
    page = lab.page
    lab.show_output(lab.cell_with("explorer\n"))
    explorer = page.locator("[data-testid=explorer]", has=page.locator("[data-testid=heatmap-0]"))
    expect(explorer).to_be_visible()
    expect(explorer.get_by_test_id("title")).to_contain_text("teacher")
    screenshot("start-features", explorer)

    question = page.get_by_test_id("question").first
    lab.show_output(lab.cell_with("widgets.Question"))
    question.get_by_test_id("answer-0").check()
    expect(question.get_by_test_id("feedback")).to_contain_text("✗")
    question.get_by_test_id("answer-1").check()
    expect(question.get_by_test_id("feedback")).to_contain_text("✓")
    screenshot("start-question", question)
    lab.settle()
    assert lab.python("distilled.accuracy > alone.accuracy") == "True"
    screenshot("start-page")
