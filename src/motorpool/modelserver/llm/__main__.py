from motorpool.modelserver.llm.main import main

main()
