from motorpool.modelserver.main import main

main()
