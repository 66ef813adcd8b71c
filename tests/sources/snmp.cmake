scotty_test(snmp_message_test MODULES sources messages base)
scotty_test(snmp_walk_test MODULES sources messages base)
scotty_test(snmp_usm_test MODULES sources messages base)
scotty_test(snmp_rows_test MODULES sources messages base WRAP_MALLOC)
