import pytest
CELLS = open("/tmp/w/exp/cells.txt").read().split("\n#---\n") if __import__("os").path.exists("/tmp/w/exp/cells.txt") else []
def test_explore(notebook, capsys):
    log=[]
    for c in CELLS:
        r=notebook.run(c)
        log.append(f"In: {c}\n--> success={r.success}\n{r.text.strip()}\n[html {len(r.html)}]")
    open("/tmp/w/exp/out.txt","w").write("\n====\n".join(log))
